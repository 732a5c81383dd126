// The table of all labels: what is looked for, corrections, and the way to a text of one's own.
(() => {
  const byId = (id) => document.getElementById(id);
  let page = 0;
  let timer = null;
  let saved = null; // the row whose correction was sent: the focus goes back to it

  const find = () => ({
    words: byId("table-words").value, kind: byId("table-kind").value, who: byId("table-who").value, page,
  });
  const load = (to) => { page = to; window.dami.ask("find", find()); };

  window.dami.onTable(() => load(0));

  // The rows have come: what was chosen and not saved is gone; the names of those who labelled, which rows these are, and
  // the focus where it was.
  window.dami.onRows((table) => {
    table.querySelectorAll("select").forEach((select) => {
      select.value = [...select.options].find((option) => option.defaultSelected)?.value ?? "";
      saveOf(select).hidden = true;
    });
    table.querySelectorAll("details.labels").forEach((details) => {
      details.open = false;
      boxes(details).forEach((box) => { box.checked = box.defaultChecked; });
      offerSave(details);
    });
    page = Number(table.dataset.page);
    byId("table-notice").textContent = table.dataset.notice;
    byId("table-place").textContent = table.dataset.place;
    byId("newer").disabled = page === 0;
    byId("older").disabled = page >= Number(table.dataset.last);
    const who = byId("table-who");
    const names = JSON.parse(table.dataset.names);
    if ([...who.options].slice(1).map((option) => option.value).join("\n") !== names.join("\n")) {
      const chosen = who.value;
      who.replaceChildren(who.options[0], ...names.map((name) => new Option(name, name)));
      who.value = names.includes(chosen) ? chosen : "";
    }
    if (saved !== null) document.querySelector(`#table-rows tr[data-row="${saved}"] :is(select, .labels summary)`)?.focus();
    saved = null;
  });

  const saveOf = (element) => element.closest("tr").querySelector(".save");
  const boxes = (details) => [...details.querySelectorAll("input")];

  // Labels can be saved that differ from those that the text has; any, where it was skipped.
  function offerSave(details) {
    const same = boxes(details).every((box) => box.checked === box.defaultChecked);
    saveOf(details).hidden = same && !("skipped" in details.dataset);
  }

  function save(button) {
    const { row, version } = button.closest("tr").dataset;
    const cell = button.closest("td");
    const select = cell.querySelector("select");
    if (select?.value === "" || button.hidden) return;
    saved = row;
    const label = select ? Number(select.value) : boxes(cell).filter((box) => box.checked).map((box) => Number(box.value));
    window.dami.ask("correct", { row: Number(row), version: Number(version), label, find: find() });
  }

  document.addEventListener("input", (event) => {
    if (event.target.id !== "table-words") return;
    clearTimeout(timer);
    timer = setTimeout(() => load(0), 250);
  });

  document.addEventListener("change", (event) => {
    if (event.target.closest?.("#table-find select")) load(0);
    const select = event.target.closest?.("#table-rows select");
    if (select) saveOf(select).hidden = select.options[select.selectedIndex].defaultSelected;
    const details = event.target.closest?.("#table-rows details.labels");
    if (details) offerSave(details);
  });

  document.addEventListener("submit", (event) => {
    if (event.target.id === "table-find") { event.preventDefault(); load(0); }
  });

  document.addEventListener("keydown", (event) => {
    const select = event.target.closest?.("#table-rows select");
    if (select && event.key === "Enter" && !saveOf(select).hidden) { event.preventDefault(); save(saveOf(select)); }
  });

  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("#table button");
    if (!button) return;
    if (button.id === "newer") load(page - 1);
    else if (button.id === "older") load(page + 1);
    else if (button.classList.contains("save")) save(button);
    else if (button.classList.contains("open")) {
      window.dami.close();
      window.dami.ask("again", Number(button.dataset.number));
    }
  });
})();
