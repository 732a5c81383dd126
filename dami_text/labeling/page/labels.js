// The list of labels, where there are more than keys: typing filters it, Enter chooses; and the classes to ask for.
(() => {
  const byId = (id) => document.getElementById(id);
  const options = () => [...document.querySelectorAll("#class-list li")];
  const plain = (text) => text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();
  let active = null;
  let token = null; // of the screen that the list is for

  function setActive(option) {
    mark(false);
    active = option ?? null;
    mark(true);
    active?.scrollIntoView({ block: "nearest" });
    if (active) byId("class-words").setAttribute("aria-activedescendant", active.id);
    else byId("class-words")?.removeAttribute("aria-activedescendant");
  }

  // In a list of any number of labels, those that are chosen are the selected ones; see toggles.js.
  function mark(on) {
    active?.classList.toggle("active", on);
    if (!byId("done")) active?.setAttribute("aria-selected", String(on));
  }

  function choose(label, event) {
    window.dami.choose(label, event);
    if (!byId("done")) return;
    byId("class-words").value = "";
    const told = byId("class-count").textContent;
    filter();
    byId("class-count").textContent = told;
  }

  // How well a name fits what was typed: all of it, its beginning, the beginning of a word, or any part.
  function rank(name, typed) {
    if (name === typed) return 0;
    if (name.startsWith(typed)) return 1;
    return name.split(/[^\p{L}\p{N}]+/u).some((word) => word.startsWith(typed)) ? 2 : 3;
  }

  function filter() {
    const typed = plain(byId("class-words").value.trim());
    const words = typed.split(/\s+/);
    const found = options().filter((option) => {
      const fits = words.every((word) => plain(option.textContent).includes(word));
      option.hidden = !fits;
      return fits;
    });
    const ranks = found.map((option) => rank(plain(option.textContent), typed));
    setActive(typed ? found[ranks.indexOf(Math.min(...ranks))] : null);
    byId("class-count").textContent = typed ? `${found.length} of ${options().length} labels` : "";
  }

  function move(by) {
    const shown = options().filter((option) => !option.hidden);
    if (!shown.length) return;
    const from = active ? shown.indexOf(active) : by > 0 ? -1 : 0;
    setActive(shown[(from + by + shown.length) % shown.length]);
  }

  // A screen has come: nothing is typed, the label that was given before is marked, the likeliest have their keys.
  window.dami.onScreen((now, hasText) => {
    const box = byId("class-words");
    if (!box || now.token === token) return; // the same text came again: what was typed for it stays
    token = now.token;
    box.value = "";
    filter();
    if (!byId("done")) options().forEach((option) => option.classList.toggle("given", option.dataset.label === now.label));
    const likeliest = now.likeliest ? now.likeliest.split(",") : [];
    document.querySelectorAll(".likeliest").forEach((button, place) => {
      button.hidden = place >= likeliest.length;
      button.dataset.label = likeliest[place] ?? "";
      button.textContent = button.hidden ? "" : byId(`class-${likeliest[place]}`).textContent;
    });
    if (hasText && !window.dami.tableIsOpen() && matchMedia("(pointer: fine)").matches) box.focus({ preventScroll: true });
  });

  // Whether the model's likeliest labels are on keys: this browser's choice, off at first, since it sways the person.
  window.dami.onToggle("likeliest-toggle", "with-likeliest", "dami-likeliest");

  document.addEventListener("input", (event) => { if (event.target.id === "class-words") filter(); });

  document.addEventListener("keydown", (event) => {
    if (event.target.id !== "class-words" || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const empty = event.target.value === "";
    const likeliest = empty && document.body.classList.contains("with-likeliest") && byId(`likeliest-${event.key}`);
    if (step) move(step);
    else if (event.key === "Enter") {
      if (event.repeat) { /* a key that is held down says nothing more */ }
      else if (active) choose(Number(active.dataset.label));
      else if (empty && byId("done")) window.dami.done();
    }
    else if (likeliest) { if (!event.repeat) likeliest.click(); }
    else if (empty && event.key === " ") { if (!event.repeat) byId("skip").click(); }
    else return;
    event.preventDefault();
  });

  document.addEventListener("click", (event) => {
    const chosen = event.target.closest?.("#class-list li, .likeliest");
    if (chosen && event.detail < 2) choose(Number(chosen.dataset.label), event);
    const asked = event.target.closest?.("#classes button");
    if (asked) {
      window.dami.close();
      window.dami.ask("likely", Number(asked.dataset.label));
    }
  });
})();
