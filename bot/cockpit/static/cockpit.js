// Renews an open page when the server says that something on it has changed. Everything works
// without it, by reloading. The page asks for itself by its own address and takes the new content;
// the server has made it, and the content security policy lets nothing in it run.
"use strict";

(() => {
  const stream = document.body.dataset.events;
  const news = document.getElementById("news");
  if (!stream || !window.EventSource) return;

  const SILENT_AFTER = 45000; // three missed beats
  const LISTEN_AGAIN = 10000;
  // How far this computer's clock is ahead of the server's, by which all times here are.
  const ahead = Date.now() - Date.parse(document.body.dataset.now);
  let source;
  let heard = Date.now();
  let listenedAt = 0;
  let isOver = false;
  let renewing = false;
  let behind = false; // something changed while the page was being renewed
  let again = false; // it could not be renewed now
  let unsaid = [];
  let isNotice = false;

  // What happened stays until something else happens; a notice until what it says is over.
  const say = (text, { notice = false, stale = false } = {}) => {
    if (news.textContent !== text) news.textContent = text;
    news.classList.toggle("stale", stale);
    isNotice = notice || stale;
  };

  const isChanged = (field) => field.options
    ? field.selectedIndex !== Math.max(0, [...field.options].findIndex((each) => each.defaultSelected))
    : field.value !== field.defaultValue;

  const isBusy = (main) => {
    const at = document.activeElement;
    const isTyping = at && main.contains(at) && at.matches("input, select, textarea");
    const isUnfolded = main.querySelector("details.act[open]") !== null;
    return isTyping || isUnfolded || [...main.querySelectorAll("input, select")].some(isChanged);
  };

  // Tells an element again in the renewed page: buttons have no id, so what theirs would send does.
  const identity = (each) => each.id || each.getAttribute("href") || [
    each.closest("[id]").id, each.textContent,
    ...[...(each.form?.elements ?? [])].filter(({ name }) => name !== "once").map(({ value }) => value),
  ].join("\n");

  const end = () => {
    isOver = true;
    source?.close();
    say("You are logged out. Reload the page to log in again.", { stale: true });
  };

  const opened = (main) => [...main.querySelectorAll("details[open][id]")].map((each) => each.id);

  const renew = async (sentences) => {
    unsaid.push(...sentences);
    if (renewing) { behind = true; return; }
    renewing = true;
    behind = false;
    const telling = unsaid.splice(0);
    try {
      const answer = await fetch(location.href, { credentials: "same-origin", cache: "no-store" });
      if (answer.redirected) { end(); return; }
      if (answer.status >= 500) throw new Error("not now");
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const fresh = page.getElementById("main");
      const main = document.getElementById("main");
      if (!fresh) return;
      if (isBusy(main)) {
        say("Something changed. It is shown when you have sent or closed the form.", { notice: true });
        unsaid.unshift(...telling);
        again = true;
        return;
      }
      const unfolded = opened(main);
      const focused = main.contains(document.activeElement) ? document.activeElement : null;
      const key = focused && identity(focused);
      const scrolled = [...main.querySelectorAll(".wide")].map((each) => each.scrollLeft);
      main.replaceChildren(...document.importNode(fresh, true).childNodes);
      unfolded.forEach((id) => document.getElementById(id)?.setAttribute("open", ""));
      main.querySelectorAll(".wide").forEach((each, place) => { each.scrollLeft = scrolled[place] || 0; });
      if (key) [...main.querySelectorAll("a, button, summary, [id]")]
        .find((each) => identity(each) === key)?.focus({ preventScroll: true });
      document.title = page.title;
      if (telling.length || isNotice) say(telling.join(". "));
    } catch {
      if (!news.classList.contains("stale")) {
        say("This page could not be renewed; it will be tried again.", { stale: true });
      }
      unsaid.unshift(...telling);
      again = true;
    } finally {
      renewing = false;
      if (behind) renew([]);
    }
  };

  const listen = () => {
    listenedAt = Date.now();
    source = new EventSource(stream);
    source.addEventListener("beat", () => {
      heard = Date.now();
      if (news.classList.contains("stale")) say("");
    });
    source.addEventListener("changed", (event) => {
      heard = Date.now();
      renew(JSON.parse(event.data).say);
    });
    source.addEventListener("over", end);
  };
  listen();
  setInterval(async () => {
    if (isOver) return;
    // Whoever answers for the server while it is away ends the stream for good: begin another one.
    const isClosed = source.readyState === EventSource.CLOSED;
    if (Date.now() - heard > SILENT_AFTER || isClosed) {
      const since = new Date(heard).toLocaleTimeString([], { timeZoneName: "short" });
      say(`No news since ${since}: the connection is lost. What you see may be old.`, { stale: true });
    }
    if (isClosed) {
      if (Date.now() - listenedAt < LISTEN_AGAIN) return;
      listenedAt = Date.now();
      await renew([]);
      if (!isOver) listen();
    } else if (again && !renewing) {
      again = false;
      renew([]);
    }
  }, 3000);

  const units = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  setInterval(() => {
    for (const each of document.querySelectorAll("time[datetime]")) {
      const seconds = Math.round((Date.now() - ahead - Date.parse(each.dateTime)) / 1000);
      const span = Math.max(1, Math.abs(seconds));
      if (span < 60 && !each.textContent.startsWith("in ")) continue;
      const [size, name] = units.find(([least]) => span >= least);
      const said = `${Math.floor(span / size)} ${name}`;
      const text = seconds < 0 ? `in ${said}` : `${said} ago`;
      if (each.textContent !== text) each.textContent = text;
    }
  }, 30000);
})();
