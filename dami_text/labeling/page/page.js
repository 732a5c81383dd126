// Keys, and the gate that no key passes before the text that it is meant for is on the screen.
(() => {
  const PATIENCE = 8000; // milliseconds to wait for the server before saying so
  const BUTTON_OF = {
    " ": "skip", Backspace: "undo", f: "flag", m: "guess-button", s: "suggestion-button", g: "guidelines-button",
    h: "history-button", "?": "help-button", a: "accept", r: "review", c: "confirm",
  };
  const PANELS = { "guidelines-button": "guidelines", "history-button": "history", "help-button": "help" };
  const NEEDS_TEXT = /^(label-\d+|skip|flag|accept|confirm)$/;
  let busy = true; // until the first text is there
  let refused = 0;
  let seen = null;
  let timer = null;

  const byId = (id) => document.getElementById(id);
  const state = () => document.querySelector("#state [data-token]");
  const say = (text) => { const notice = byId("notice"); if (notice) notice.textContent = text; };

  // Whether guesses are shown with each text and key a accepts them: this browser's choice, off at first.
  const accepting = () => document.body.classList.contains("accepting");
  function accept(on) {
    document.body.classList.toggle("accepting", on);
    byId("accept-toggle")?.setAttribute("aria-pressed", String(on));
    try { localStorage.setItem("dami-accept", on ? "1" : ""); } catch { /* a browser that keeps nothing */ }
    if (on) byId("guess-button")?.click();
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
      document.body.classList.toggle("again", now.dataset.again === "true");
      document.body.classList.toggle("review", now.dataset.review === "true");
      byId("review")?.setAttribute("aria-pressed", now.dataset.review);
      document.body.classList.toggle("no-text", now.dataset.token === "-");
      document.querySelector("#text")?.scrollTo(0, 0);
      if (byId("noted")) byId("noted").textContent = "";
      if (accepting() && now.dataset.token !== "-") byId("guess-button")?.click();
      if (now.dataset.token !== "-") document.querySelector("#label-filter input")?.focus();
      busy = false;
    });
  }

  function toggle(buttonId) {
    const open = byId(PANELS[buttonId])?.classList.toggle("open") ?? false;
    byId(buttonId)?.setAttribute("aria-expanded", String(open));
    if (open) byId(PANELS[buttonId]).querySelector("button, a, [tabindex]")?.focus();
  }

  function escape() {
    const open = Object.keys(PANELS).filter((id) => byId(PANELS[id])?.classList.contains("open"));
    if (open.length) open.forEach(toggle);
    else if (document.body.classList.contains("again")) byId("back")?.click();
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
    if (event.key === " " && focused.closest("a, button:focus-visible, [role=tab]")) return; // it presses what has the focus
    if (event.key.toLowerCase() === "n") {
      event.preventDefault();
      byId("note")?.querySelector("input, textarea")?.focus();
      return;
    }
    if (event.key.toLowerCase() === "a" && !accepting()) return;
    if (event.key.toLowerCase() === "c" && !document.body.classList.contains("review")) return;
    const digit = /^[1-9]$/.test(event.key);
    const button = byId(digit ? `label-${event.key}` : BUTTON_OF[event.key.length === 1 ? event.key.toLowerCase() : event.key]);
    if (!button) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    if (!event.repeat) button.click();
  }, true);

  document.addEventListener("click", (event) => {
    const button = event.target instanceof Element ? event.target.closest("button") : null;
    if (!button) return;
    if (PANELS[button.id]) { toggle(button.id); return; }
    if (button.id === "accept-toggle") { accept(!accepting()); return; }
    if (!button.classList.contains("act")) return;
    const empty = NEEDS_TEXT.test(button.id) && state()?.dataset.token === "-";
    const why = busy ? "the next text was not on the screen yet" : event.isTrusted && event.detail > 1 ?
      "that was a double click" : empty ? "there is no text on the screen" : "";
    if (why) {
      event.preventDefault();
      event.stopImmediatePropagation();
      refuse(why);
      if (!busy) refused = 0;
      return;
    }
    if (button.closest("#history")) toggle("history-button");
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

  new MutationObserver(screenHasCome).observe(document.documentElement, {
    childList: true, subtree: true, characterData: true, attributes: true, attributeFilter: ["data-n"],
  });
})();
