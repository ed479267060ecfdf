"use strict";
// Columns that are sorted by a click on their head: numbers by their value, "-" last, texts by their letters.
(() => {
  const number = (text) => {
    const clock = /^(\d+):(\d\d):(\d\d)$/.exec(text);
    if (clock) return 3600 * clock[1] + 60 * clock[2] + Number(clock[3]);
    const found = /^[<>]? ?[-+]?[\d.]+(e[-+]?\d+)?/.exec(text.replace("\u2212", "-"));
    return found ? Number(found[0].replace(/[<> ]/g, "")) : NaN;
  };
  const textOf = (row, i) => (row.children[i] ? row.children[i].textContent.trim() : "");
  for (const table of document.querySelectorAll("table.sortable")) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, i) => {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "sort";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const down = head.getAttribute("aria-sort") === "ascending";
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        const body = table.tBodies[0];
        const keyed = [...body.rows].map((row) => [textOf(row, i), number(textOf(row, i)), row]);
        const known = keyed.filter(([text]) => text !== "-" && text !== "");
        const numeric = known.every(([, value]) => !Number.isNaN(value));
        known.sort((a, b) => (numeric ? a[1] - b[1] : a[0].localeCompare(b[0], "en", { numeric: true })));
        if (down) known.reverse();
        const others = keyed.filter(([text]) => text === "-" || text === "");
        body.append(...known.concat(others).map(([, , row]) => row));
      });
    });
  }
})();

// The error browser. Texts of the runs become text nodes and never markup.
(() => {
  const holder = document.getElementById("data");
  if (!holder) return;
  const data = JSON.parse(holder.textContent);
  const STEP = 40; // utterances rendered at once
  const form = document.getElementById("filters");
  const list = document.getElementById("list");
  const more = document.getElementById("more");
  const status = document.getElementById("count");
  const KINDS = { s: "substitution", i: "insertion", d: "deletion" };
  const kind = (pair) => (pair[0] === "" ? "i" : pair[1] === "" ? "d" : "s");

  const rows = data.rows.map(([run, set, id, clip, speaker, seconds, words]) => {
    const n = { s: 0, i: 0, d: 0 };
    let spoken = 0;
    for (const word of words) {
      if (typeof word !== "string") n[kind(word)] += 1;
      if (typeof word === "string" || word[0] !== "") spoken += 1;
    }
    const side = (i) => words.map((w) => (typeof w === "string" ? w : w[i])).filter(Boolean).join(" ");
    const errors = n.s + n.i + n.d;
    const rate = spoken ? (100 * errors) / spoken : errors ? Infinity : 0;
    return { run, set, id, clip, speaker, seconds, words, n, errors, spoken, rate, text: `${side(0)}\n${side(1)}\n${id}`.toLowerCase() };
  });

  const ORDERS = {
    errors: (a, b) => b.errors - a.errors,
    rate: (a, b) => (b.rate === a.rate ? 0 : b.rate - a.rate),
    long: (a, b) => b.seconds - a.seconds,
    id: (a, b) => (a.id < b.id ? -1 : a.id > b.id ? 1 : a.run - b.run),
  };

  const element = (name, kindOf, text) => {
    const made = document.createElement(name);
    if (kindOf) made.className = kindOf;
    if (text !== undefined) made.textContent = text;
    return made;
  };

  for (const [field, names] of [["run", data.runs], ["set", data.sets], ["speaker", data.speakers]]) {
    const used = new Set(rows.map((row) => row[field]));
    names
      .map((name, i) => [name || "unknown", i])
      .filter(([, i]) => used.has(i))
      .sort((a, b) => (field === "run" ? 0 : a[0] < b[0] ? -1 : 1))
      .forEach(([name, i]) => {
        const option = element("option", "", name);
        option.value = String(i);
        form.elements[field].append(option);
      });
  }

  const wordOf = (word) => {
    if (typeof word === "string") return element("span", "word", word);
    const which = kind(word);
    const made = element("span", `word ${which}`);
    made.append(element("span", "hidden", `${KINDS[which]}: `));
    made.append(element("span", "r", word[0] || "+"), element("span", "h", word[1] || "–"));
    const letter = element("span", "k", which.toUpperCase());
    letter.setAttribute("aria-hidden", "true");
    made.append(letter);
    return made;
  };

  const item = (row) => {
    const made = element("li");
    const about = element("div", "about");
    const several = (n, one) => `${n} ${one}${n === 1 ? "" : "s"}`;
    about.append(element("b", "", `${several(row.errors, "error")} in ${several(row.spoken, "word")}`));
    const speaker = data.speakers[row.speaker] ? `, ${data.speakers[row.speaker]}` : "";
    about.append(` (${row.n.s} S, ${row.n.i} I, ${row.n.d} D) · ${row.id}${speaker}, ${row.seconds} s · `);
    about.append(`${data.sets[row.set]} · ${data.runs[row.run]} · ${data.clips[row.clip]}`);
    const words = element("p", "words");
    for (const word of row.words) words.append(wordOf(word), " ");
    made.append(about, words);
    const sound = data.sounds[row.clip];
    if (sound) {
      const player = element("audio");
      player.controls = true;
      player.preload = "none";
      player.src = sound;
      player.setAttribute("aria-label", `clip ${row.id}`);
      made.append(player);
    }
    return made;
  };

  let found = [];
  let shown = 0;

  const show = () => {
    const next = found.slice(shown, shown + STEP);
    list.append(...next.map(item));
    const first = shown;
    shown += next.length;
    status.textContent = `${shown} of ${found.length} utterances shown`;
    more.hidden = shown >= found.length;
    more.textContent = `Show ${Math.min(STEP, found.length - shown)} more`;
    return list.children[first];
  };

  // Filters stand in the address by name, so a link shows what its sender saw: #errors?set=test_de&kind=d
  const lists = { run: data.runs, set: data.sets, speaker: data.speakers };
  const initial = Object.fromEntries(new FormData(form));
  const toAddress = () => {
    const parts = new URLSearchParams();
    for (const [field, value] of new FormData(form)) {
      if (value !== initial[field]) parts.set(field, lists[field] ? lists[field][Number(value)] : value);
    }
    const asked = parts.toString();
    history.replaceState(null, "", asked ? `#errors?${asked}` : "#errors");
  };
  const fromAddress = () => {
    if (!location.hash.startsWith("#errors?")) return false;
    const parts = new URLSearchParams(location.hash.slice("#errors?".length));
    for (const [field, value] of Object.entries(initial)) {
      const named = parts.has(field) && lists[field] ? String(lists[field].indexOf(parts.get(field))) : parts.get(field);
      form.elements[field].value = parts.has(field) ? named : value;
      if (form.elements[field].value === "" && value !== "") form.elements[field].value = value;
    }
    document.getElementById("errors").scrollIntoView();
    return true;
  };

  const filter = () => {
    const want = Object.fromEntries(new FormData(form));
    const text = want.text.trim().toLowerCase();
    const fits = (row) =>
      (want.run === "" || row.run === Number(want.run)) &&
      (want.set === "" || row.set === Number(want.set)) &&
      (want.speaker === "" || row.speaker === Number(want.speaker)) &&
      (want.kind === "" || (want.kind === "any" ? row.errors > 0 : want.kind === "none" ? row.errors === 0 : row.n[want.kind] > 0)) &&
      (text === "" || row.text.includes(text));
    found = rows.filter(fits).sort(ORDERS[want.order]);
    shown = 0;
    list.replaceChildren();
    show();
  };

  let waiting = 0;
  form.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => {
      filter();
      toAddress();
    }, 120); // not at every letter
  });
  form.addEventListener("reset", () =>
    setTimeout(() => {
      filter();
      toAddress();
    }, 0));
  window.addEventListener("hashchange", () => fromAddress() && filter());
  form.addEventListener("submit", (event) => event.preventDefault());
  more.addEventListener("click", () => {
    const first = show();
    first.tabIndex = -1; // so that a keyboard goes on where the new ones begin
    first.focus({ preventScroll: true });
  });
  fromAddress();
  filter();
})();
