
"use strict";
// Texts come from hosts: they only ever become text (textContent), never HTML.
(() => {
  document.getElementById("plain").hidden = true;
  const data = JSON.parse(document.getElementById("data").textContent);
  const SIGNS = {fail: "✕", "pending-reboot": "↻", "pending-restart": "↻", unknown: "?", waived: "◇", pass: "✓", "not-applicable": "–"};
  const HOLD = data.states.slice(5);
  const [ID, TITLE, SEVERITY, IMPACT, REFERENCES] = [0, 1, 2, 3, 4];
  const controls = data.controls.map((all) => ({id: all[ID], title: all[TITLE], severity: all[SEVERITY], impact: all[IMPACT],
    references: all.slice(REFERENCES)}));
  const rows = data.rows.map(([control, state, reason, next, declared, disk, live, held, moved, cause]) => ({
    number: control, control: controls[control], state: data.states[state], reason, next, readings: [declared, disk, live], held, moved, cause}));

  // The rows of a group of hosts, the worst first.
  const cache = new Map();
  function rowsOf(group) {
    if (!cache.has(group)) {
      const [, unusual] = data.groups[group], found = data.usual.slice();
      for (const row of unusual || []) found[row < 0 ? -1 - row : rows[row].number] = row < 0 ? null : row;
      cache.set(group, unusual ? found.filter((row) => row !== null).sort((a, b) => a - b).map((row) => rows[row]) : []);
    }
    return cache.get(group);
  }

  function element(name, attributes, ...children) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children.filter((child) => child));
    return made;
  }
  const sign = (state) => element("span", {class: `state ${state}`}, element("span", {"aria-hidden": "true"}, SIGNS[state]), ` ${state}`);

  const number = (count, what) => `${count.toLocaleString("en")} ${what}${count === 1 ? "" : "s"}`;

  // --- one host, or hosts of which the same is said

  function finding(row) {
    const facts = [["Held", row.held && row.held + (row.moved ? `; ${row.moved}` : "")], ["Cause", row.cause],
      ["Next", row.next && row.next + (row.control.impact === "none" ? "" : ` (takes a ${row.control.impact})`)]].filter(([, text]) => text);
    const [declared, disk, live] = row.readings;
    return element("div", {class: "say"},
      element("h4", {}, sign(row.state), ` ${row.control.title}`),
      element("p", {class: "quiet"}, element("code", {}, row.control.id), ` · ${[row.control.severity, ...row.control.references].join(" · ")}`),
      element("p", {}, row.reason || "What the host says of it is in report.json: this page has no room for it."),
      facts.length && element("dl", {class: "more"}, ...facts.flatMap(([key, text]) => [element("dt", {}, key), element("dd", {}, text)])),
      (declared || disk || live) && table("readings", ["Declared", "On disk", "Live"], [[declared || "–", disk || "–", live || "–"]]));
  }

  function table(name, heads, lines) {
    return element("table", {class: name},
      element("thead", {}, element("tr", {}, ...heads.map((head) => element("th", {scope: "col"}, head)))),
      element("tbody", {}, ...lines.map((line) => element("tr", {}, ...line.map((cell) => element("td", {}, cell))))));
  }

  function detail(group) {
    const [names] = data.groups[group], all = rowsOf(group);
    const broken = all.filter((row) => !HOLD.includes(row.state)), holding = all.filter((row) => HOLD.includes(row.state));
    const counts = HOLD.map((state) => `${holding.filter((row) => row.state === state).length} ${state}`).join(", ");
    return [
      names.length > 1 && element("p", {class: "names"}, element("strong", {}, `${number(names.length, "host")}: `), names.join(", ")),
      ...broken.map(finding),
      !broken.length && all.length && element("p", {}, "Nothing fails here."),
      holding.length && element("details", {class: "holding"}, element("summary", {}, counts),
        table("", ["State", "Control", "What it says"], holding.map((row) => [sign(row.state),
          element("span", {}, row.control.title, " ", element("code", {}, row.control.id)), row.reason || ""]))),
      !all.length && element("p", {}, "Nothing is known of it."),
    ];
  }

  const hosts = [...document.querySelectorAll("table.hosts > tbody > tr")];
  const buttons = hosts.map((line, group) => {
    const name = line.querySelector("strong");
    const button = element("button", {type: "button", class: "host", "aria-expanded": "false"}, name.textContent);
    name.replaceChildren(button);
    button.addEventListener("click", () => open(group, button.getAttribute("aria-expanded") === "false"));
    return button;
  });

  function open(group, wanted) {
    const line = hosts[group], button = buttons[group], next = line.nextElementSibling;
    if (next?.classList.contains("detail")) next.remove();
    button.setAttribute("aria-expanded", String(wanted));
    if (wanted) line.after(element("tr", {class: "detail"}, element("td", {colspan: "7"}, ...detail(group).filter((part) => part))));
  }

  // --- on paper controls are open (browsers that know ::details-content open them without script)

  let closed = [];
  addEventListener("beforeprint", () => {
    closed = [...document.querySelectorAll("details.control:not([open])")];
    for (const control of closed) control.open = true;
  });
  addEventListener("afterprint", () => { for (const control of closed) control.open = false; });

  // --- find and filter: what a control is called, what a host says of it and what the host is called, all in one

  const form = document.getElementById("find");
  if (!hosts.length) return;
  form.hidden = false;
  form.addEventListener("submit", (event) => event.preventDefault());
  const lower = (...texts) => texts.filter((text) => text).join(" ").toLowerCase();
  let about;

  function find() {
    const words = form.words.value.toLowerCase().split(/\s+/).filter((word) => word);
    const state = form.state.value, severity = form.severity.value, every = !words.length && !state && !severity;
    about ??= hosts.map((line, group) => lower(line.textContent, ...data.groups[group][0]));
    const here = new Set();
    let count = 0;
    hosts.forEach((line, group) => {
      const [names] = data.groups[group];
      let found = every || (!state && !severity && words.every((word) => about[group].includes(word)));
      for (const row of every ? [] : rowsOf(group)) {
        if (HOLD.includes(row.state) || (state && row.state !== state) || (severity && row.control.severity !== severity)) continue;
        row.text ??= lower(row.control.id, row.control.title, row.reason, row.cause);
        if (words.every((word) => row.text.includes(word) || about[group].includes(word))) {
          found = true;
          here.add(row.number);
        }
      }
      line.hidden = !found;
      // Of hosts in one row those count, and the first is shown, that were asked for by name.
      const named = names.filter((name) => words.some((word) => name.toLowerCase().includes(word)));
      buttons[group].textContent = named[0] || names[0];
      if (found) count += named.length || names.length;
      else open(group, false);
    });
    for (const control of document.querySelectorAll("details.control")) control.hidden = !every && !here.has(Number(control.id.slice(1)));
    form.found.value = every ? "" : `${number(here.size, "control")}, ${number(count, "host")}`;
  }
  let waiting;
  for (const event of ["input", "change"]) form.addEventListener(event, () => { clearTimeout(waiting); waiting = setTimeout(find, 120); });

  // --- a link to a host opens it

  function follow() {
    const found = /^#h(\d+)$/.exec(location.hash);
    if (found && hosts[found[1]]) {
      hosts[found[1]].hidden = false;
      open(Number(found[1]), true);
      buttons[found[1]].focus({preventScroll: true});
    }
  }
  addEventListener("hashchange", follow);
  follow();
})();
