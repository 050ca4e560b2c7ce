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
  let again = false;

  const say = (text, isStale) => {
    if (news.textContent !== text) news.textContent = text;
    news.classList.toggle("stale", Boolean(isStale));
  };

  const isBusy = (main) => {
    const at = document.activeElement;
    const isTyping = at && main.contains(at) && at.matches("input, select, textarea");
    const isUnfolded = main.querySelector("details.act[open]") !== null;
    return isTyping || isUnfolded;
  };

  const opened = (main) => [...main.querySelectorAll("details[open][id]")].map((each) => each.id);

  const renew = async (sentences) => {
    if (renewing) { again = true; return; }
    renewing = true;
    try {
      const answer = await fetch(location.href, { credentials: "same-origin", cache: "no-store" });
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const fresh = page.getElementById("main");
      const main = document.getElementById("main");
      if (!fresh || answer.redirected) return;
      if (isBusy(main)) {
        say("Something changed. It is shown when you have sent or closed the form.");
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
      say(sentences.join(". "));
    } catch {
      say("This page could not be renewed; it will be tried again.", true);
      again = true;
    } finally {
      renewing = false;
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
    say("You are logged out. Reload the page to log in again.", true);
  });
  setInterval(() => {
    if (Date.now() - heard > SILENT_AFTER || source.readyState === EventSource.CLOSED) {
      const since = new Date(heard).toLocaleTimeString([], { timeZoneName: "short" });
      say(`No news since ${since}: the connection is lost. What you see may be old.`, true);
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
