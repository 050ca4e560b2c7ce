// Renews an open page when the server says that something on it has changed. Everything works
// without it, by reloading. The page asks for itself by its own address and takes the new content;
// the server has made it, and the content security policy lets nothing in it run.
"use strict";

(() => {
  const stream = document.body.dataset.events;
  const news = document.getElementById("news");
  if (!stream || !window.EventSource) return;

  const SILENT_AFTER = 45000; // three missed beats
  let heard = Date.now();
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

  const isBusy = (main) => {
    const at = document.activeElement;
    const isTyping = at && main.contains(at) && at.matches("input, select, textarea");
    const isUnfolded = main.querySelector("details.act[open]") !== null;
    return isTyping || isUnfolded;
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
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const fresh = page.getElementById("main");
      const main = document.getElementById("main");
      if (!fresh || answer.redirected) return;
      if (isBusy(main)) {
        say("Something changed. It is shown when you have sent or closed the form.", { notice: true });
        unsaid.unshift(...telling);
        again = true;
        return;
      }
      const unfolded = opened(main);
      const focused = main.contains(document.activeElement) ? document.activeElement : null;
      const key = focused && (focused.id || focused.getAttribute("href"));
      const scrolled = [...main.querySelectorAll(".wide")].map((each) => each.scrollLeft);
      main.replaceChildren(...document.importNode(fresh, true).childNodes);
      unfolded.forEach((id) => document.getElementById(id)?.setAttribute("open", ""));
      main.querySelectorAll(".wide").forEach((each, place) => { each.scrollLeft = scrolled[place] || 0; });
      if (key) [...main.querySelectorAll("a, button, summary, [id]")]
        .find((each) => each.id === key || each.getAttribute("href") === key)?.focus({ preventScroll: true });
      document.title = page.title;
      if (telling.length || isNotice) say(telling.join(". "));
    } catch {
      say("This page could not be renewed; it will be tried again.", { stale: true });
      unsaid.unshift(...telling);
      again = true;
    } finally {
      renewing = false;
      if (behind) renew([]);
    }
  };

  const source = new EventSource(stream);
  source.addEventListener("beat", () => {
    heard = Date.now();
    if (news.classList.contains("stale")) say("");
  });
  source.addEventListener("changed", (event) => {
    heard = Date.now();
    renew(JSON.parse(event.data).say);
  });
  source.addEventListener("over", () => {
    source.close();
    say("You are logged out. Reload the page to log in again.", { stale: true });
  });
  setInterval(() => {
    if (Date.now() - heard > SILENT_AFTER || source.readyState === EventSource.CLOSED) {
      const since = new Date(heard).toLocaleTimeString([], { timeZoneName: "short" });
      say(`No news since ${since}: the connection is lost. What you see may be old.`, { stale: true });
    } else if (again && !renewing) {
      again = false;
      renew([]);
    }
  }, 3000);

  const units = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  setInterval(() => {
    for (const each of document.querySelectorAll("time[datetime]")) {
      const seconds = Math.round((Date.now() - Date.parse(each.dateTime)) / 1000);
      if (seconds < 60) continue;
      const place = units.findIndex(([size]) => seconds >= size);
      const [size, name] = units[place];
      const count = Math.floor(seconds / size);
      const text = `${count} ${name} ago`;
      if (each.textContent !== text) each.textContent = text;
    }
  }, 30000);
})();
