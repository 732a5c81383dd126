// Keys, and the gate that no key passes before the text that it is meant for is on the screen.
(() => {
  const PATIENCE = 8000; // milliseconds to wait for the server before saying so
  const BUTTON_OF = {
    " ": "skip", Backspace: "undo", f: "flag", m: "guess-button", s: "suggestion-button", g: "guidelines-button",
    t: "table-button", "?": "help-button", a: "accept", l: "similar", c: "classes-button", r: "review", y: "confirm",
  };
  const PANELS = {
    "guidelines-button": "guidelines", "table-button": "table", "help-button": "help", "classes-button": "classes",
  };
  const NEEDS_TEXT = /^(label-\d+|skip|flag|accept|confirm|choose|similar)$/;
  let busy = true; // until the first text is there
  let refused = 0;
  let seen = null;
  let timer = null;

  const byId = (id) => document.getElementById(id);
  const state = () => document.querySelector("#state [data-token]");
  const say = (text) => { const notice = byId("notice"); if (notice) notice.textContent = text; };

  // What the other scripts need of this one.
  const listeners = { screen: [], table: [], rows: [] };
  const tableIsOpen = () => document.body.classList.contains("table-open");
  window.dami = {
    sent: {}, // by the hidden button whose event sends it
    ask(id, value) { window.dami.sent[id] = JSON.stringify(value); byId(id)?.click(); },
    onScreen(listener) { listeners.screen.push(listener); },
    onTable(listener) { listeners.table.push(listener); },
    onRows(listener) { listeners.rows.push(listener); },
    onToggle(id, name, key, then) { toggles[id] = { name, key, then }; },
    tableIsOpen,
    mayChoose(event) { return passes("choose", event); },
    close: () => escape(false),
  };

  // Choices of this browser, all off at first, by the button that changes them: a class of the body, kept under a key.
  const toggles = {};
  const isOn = (name) => document.body.classList.contains(name);
  function setToggle(id, on) {
    const { name, key, then } = toggles[id];
    document.body.classList.toggle(name, on);
    byId(id)?.setAttribute("aria-pressed", String(on));
    try { localStorage.setItem(key, on ? "1" : ""); } catch { /* a browser that keeps nothing */ }
    if (on) then?.();
  }
  window.dami.onToggle("accept-toggle", "accepting", "dami-accept", () => byId("guess-button")?.click());

  function restoreToggles() {
    for (const [id, { key }] of Object.entries(toggles)) {
      try { if (localStorage.getItem(key)) setToggle(id, true); } catch { /* a browser that keeps nothing */ }
    }
  }

  // Whether a button's press is for what is on the screen; otherwise say why not.
  function passes(id, event) {
    const empty = NEEDS_TEXT.test(id) && state()?.dataset.token === "-";
    const why = busy ? "the next text was not on the screen yet" : event?.isTrusted && event.detail > 1 ?
      "that was a double click" : empty ? "there is no text on the screen" : "";
    if (why) {
      refuse(why);
      if (!busy) refused = 0;
    }
    return !why;
  }

  function refuse(why) {
    refused += 1;
    say(`Ignored: ${why}.`);
  }

  function toServer() {
    busy = true;
    clearTimeout(timer);
    timer = setTimeout(() => {
      busy = false;
      say("No answer from dami-text: is it still running? What you see may not be saved; reload the page.");
    }, PATIENCE);
  }

  // A new screen has come: show what goes with it, and open the gate once it is painted.
  function screenHasCome() {
    const now = state();
    if (!now || now.dataset.n === seen) return;
    if (seen === null) restoreToggles();
    seen = now.dataset.n;
    clearTimeout(timer);
    requestAnimationFrame(() => {
      const late = refused === 1 ? "1 key was too early for this text and is ignored." :
        `${refused} keys were too early for this text and are ignored.`;
      say([now.dataset.notice, refused ? late : ""].join(" ").trim());
      refused = 0;
      describe();
      document.querySelectorAll("button.label").forEach((button) => {
        button.setAttribute("aria-pressed", String(button.id === `label-${Number(now.dataset.label) + 1}` && now.dataset.label !== ""));
      });
      byId("flag")?.setAttribute("aria-pressed", now.dataset.flagged);
      const hasText = now.dataset.token !== "-";
      document.body.classList.toggle("again", now.dataset.again === "true" || now.dataset.batch !== "");
      document.body.classList.toggle("review", now.dataset.review === "true");
      byId("review")?.setAttribute("aria-pressed", now.dataset.review);
      document.body.classList.toggle("no-text", !hasText);
      document.querySelector("#text")?.scrollTo(0, 0);
      if (byId("noted")) byId("noted").textContent = "";
      if (isOn("accepting") && hasText) byId("guess-button")?.click();
      listeners.screen.forEach((listener) => listener(now.dataset, hasText));
      busy = false;
    });
  }

  function toggle(buttonId) {
    const open = byId(PANELS[buttonId])?.classList.toggle("open") ?? false;
    byId(buttonId)?.setAttribute("aria-expanded", String(open));
    if (buttonId === "table-button") {
      document.body.classList.toggle("table-open", open);
      if (open) listeners.table.forEach((listener) => listener());
    }
    if (open) byId(PANELS[buttonId]).querySelector("input, button, a, [tabindex]")?.focus();
    else byId(buttonId)?.focus({ preventScroll: true, focusVisible: false });
  }

  // Close what is open; where nothing is, and `andBack`, leave the text that one looks at again, or one's batch.
  function escape(andBack = true) {
    const open = Object.keys(PANELS).filter((id) => byId(PANELS[id])?.classList.contains("open"));
    if (open.length) open.forEach(toggle);
    else if (andBack && isOn("again")) byId("back")?.click();
  }

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const focused = event.target instanceof Element ? event.target : document.body;
    if (event.key === "Escape") {
      if (focused.closest("input, textarea")) focused.blur();
      else escape();
      return;
    }
    if (focused.closest("input, textarea, select, [contenteditable=true]")) return;
    if (event.key === " " && focused.closest("a, summary, button:focus-visible, [role=tab]")) return; // it presses it
    if (tableIsOpen() && event.key.toLowerCase() !== "t") return; // the text that keys are for is out of sight
    if (event.key.toLowerCase() === "n") {
      event.preventDefault();
      byId("note")?.querySelector("input, textarea")?.focus();
      return;
    }
    if (event.key.toLowerCase() === "a" && !isOn("accepting")) return;
    if (event.key.toLowerCase() === "y" && !isOn("review")) return;
    const digit = /^[1-9]$/.test(event.key);
    const numbered = isOn("with-likeliest") ? "likeliest" : "label";
    const button = byId(digit ? `${numbered}-${event.key}` : BUTTON_OF[event.key.length === 1 ? event.key.toLowerCase() : event.key]);
    if (!button) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    if (!event.repeat) button.click();
  }, true);

  document.addEventListener("click", (event) => {
    const button = event.target instanceof Element ? event.target.closest("button") : null;
    if (!button) return;
    if (PANELS[button.id]) { toggle(button.id); return; }
    if (toggles[button.id]) { setToggle(button.id, !isOn(toggles[button.id].name)); return; }
    if (!button.classList.contains("act")) return;
    if (!passes(button.id, event)) {
      event.preventDefault();
      event.stopImmediatePropagation();
      return;
    }
    toServer();
  }, true);

  // What gradio's components have no option for: names and keys for those who do not see the page.
  function describe() {
    const text = byId("text");
    text?.setAttribute("role", "region");
    text?.setAttribute("aria-label", "The text to label");
    text?.setAttribute("aria-live", "polite");
    text?.setAttribute("tabindex", "0");
    byId("why")?.setAttribute("aria-label", "Why this text was asked");
    byId("note")?.querySelector("input, textarea")?.setAttribute("aria-label", "Your note on this text");
    byId("table")?.setAttribute("role", "region");
    byId("table")?.setAttribute("aria-labelledby", "table-title");
    document.querySelectorAll("button.label").forEach((button) => {
      button.setAttribute("aria-keyshortcuts", button.id.slice("label-".length));
    });
    for (const [key, id] of Object.entries(BUTTON_OF)) {
      byId(id)?.setAttribute("aria-keyshortcuts", key === " " ? "Space" : key);
      if (PANELS[id]) {
        byId(id)?.setAttribute("aria-expanded", String(byId(PANELS[id])?.classList.contains("open") ?? false));
        byId(id)?.setAttribute("aria-controls", PANELS[id]);
      }
    }
  }

  let rows = null;
  function rowsHaveCome() {
    const table = document.querySelector("#table-rows table");
    if (!table || table.dataset.n === rows) return;
    rows = table.dataset.n;
    listeners.rows.forEach((listener) => listener(table));
  }

  new MutationObserver(() => { screenHasCome(); rowsHaveCome(); }).observe(document.documentElement, {
    childList: true, subtree: true, characterData: true, attributes: true, attributeFilter: ["data-n"],
  });
})();
