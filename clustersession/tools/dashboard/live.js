// Puts what the server sends into the page. Everything else works without this file.
(() => {
  "use strict";
  const state = document.getElementById("live-state");
  let heard = 0;

  const say = (live) => {
    state.dataset.live = live ? "live" : "lost";
    state.firstChild.textContent = live ? "live · " : "not live since ";
  };

  const show = (id, html) => {
    const element = document.getElementById(id);
    if (!element) return;
    const scrolled = element.scrollLeft;
    // The server escaped every value, and the page's policy runs no script that came this way.
    element.innerHTML = html;
    element.scrollLeft = scrolled;
  };

  const address = document.currentScript.dataset.events;
  const listen = () => {
    const source = new EventSource(address);
    source.onmessage = (event) => {
      heard = Date.now();
      for (const [id, html] of Object.entries(JSON.parse(event.data))) show(id, html);
      say(true);
    };
    source.onerror = () => {
      // A browser gives up after an answer such as "sign in first" or "too many".
      if (source.readyState !== EventSource.CLOSED) return;
      say(false);
      setTimeout(listen, 15000);
    };
  };
  listen();
  setInterval(() => { if (heard && Date.now() - heard > 8000) say(false); }, 2000);
})();
