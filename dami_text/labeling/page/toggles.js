// Any number of labels: keys and clicks choose them and take them back on the page; Enter sends them all, or none.
(() => {
  const byId = (id) => document.getElementById(id);
  const shown = () => document.querySelectorAll("#toggles button, #class-list li, .likeliest");
  const nameOf = (label) => (byId(`class-${label}`) ?? byId(`label-${label + 1}`))?.textContent ?? "";
  let chosen = new Set();
  let token = null; // of the screen that they are for
  let flagging = false;

  // A label that was chosen: the answer where a text has one class; otherwise it is chosen, or taken back.
  window.dami.choose = (label, event) => {
    if (!byId("done")) { window.dami.ask("choose", label); return; }
    if (!window.dami.mayChoose(event)) return;
    if (!chosen.delete(label)) chosen.add(label);
    show();
    const count = byId("class-count");
    if (count) count.textContent = chosen.has(label) ? `${nameOf(label)} is chosen.` : `${nameOf(label)} is taken back.`;
  };

  window.dami.done = () => window.dami.ask("choose", [...chosen].sort((a, b) => a - b));

  function show() {
    shown().forEach((element) => {
      const on = element.dataset.label !== "" && chosen.has(Number(element.dataset.label));
      element.setAttribute(element.tagName === "LI" ? "aria-selected" : "aria-pressed", String(on));
      element.classList.toggle("given", on);
    });
    byId("done").textContent = chosen.size ? "Done" : "None of these";
    byId("chosen")?.replaceChildren(...[...chosen].map((label) => {
      const button = document.createElement("button");
      button.type = "button";
      button.dataset.label = label;
      button.textContent = nameOf(label);
      button.setAttribute("aria-label", `Take back ${nameOf(label)}`);
      return button;
    }));
  }

  // A screen has come: what was chosen for the same text stays, also while its flag changes.
  window.dami.onScreen((now) => {
    if (!byId("done")) return;
    const row = (of) => of?.split(".")[0];
    const same = now.token === token || (flagging && row(now.token) === row(token));
    if (!same) chosen = new Set(now.label ? now.label.split(",").map(Number) : []);
    token = now.token;
    flagging = false;
    show();
  });

  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("button");
    if (button?.id === "flag") flagging = true;
    else if (button?.id === "done") { if (event.detail < 2) window.dami.done(); }
    else if (button?.closest("#toggles, #chosen")) window.dami.choose(Number(button.dataset.label), event);
  });

  document.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !byId("done") || event.ctrlKey || event.metaKey || event.altKey) return;
    const focused = event.target instanceof Element ? event.target : document.body;
    if (window.dami.tableIsOpen() || focused.closest("input, textarea, select, a, summary")) return;
    if (focused.closest("button:focus-visible:not(#toggles button, #done)")) return; // it presses it
    event.preventDefault();
    if (!event.repeat) window.dami.done();
  });
})();
