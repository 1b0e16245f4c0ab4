"use strict";
(() => {
  const PAGE = 20;
  const data = {};
  for (const script of document.querySelectorAll("script.items")) {
    data[script.dataset.task] = JSON.parse(script.textContent);
  }
  const pick = document.getElementById("task");
  const search = document.getElementById("search");
  const list = document.getElementById("list");
  const counter = document.getElementById("counter");
  const more = document.getElementById("more");
  const verdicts = document.getElementById("verdicts");
  let found = [];
  let drawn = 0;

  const add = (parent, tag, kind, text) => {
    const made = document.createElement(tag);
    if (kind) made.className = kind;
    if (text !== undefined) made.textContent = text;
    parent.append(made);
    return made;
  };

  const haystack = (item) => [
    item.id, item.context, item.text || "", ...item.gold, ...item.prediction,
    ...(item.choices || []).map((choice) => choice.text),
  ].join("\n").toLowerCase();

  const part = (parent, title, text) => {
    add(parent, "h4", "", title);
    add(parent, "pre", "", text || "(empty)");
  };

  const fill = (item, inside) => {
    part(inside, `Prompt (${item.shots} examples${item.cut ? ", its beginning cut to fit the model" : ""})`, item.context);
    if (item.choices) {
      add(inside, "h4", "", "Choices: share of their probability, log-probability");
      for (const choice of item.choices) {
        const line = add(inside, "div", choice.gold ? "choice gold" : "choice");
        add(line, "span", "", choice.text + (choice.gold ? "  ← right" : ""));
        const meter = add(add(line, "span", "meter"), "i", "");
        meter.style.width = `${(100 * choice.share).toFixed(1)}%`;
        add(line, "span", "num", `${(100 * choice.share).toFixed(1)} %  ${choice.logprob.toFixed(2)}`);
      }
    } else {
      const ends = { length: ", cut at the most tokens", stop: ", ended by itself", "stop-text": ", ended by a stop text" };
      part(inside, `Answer${ends[item.finish] || ""}`, item.text);
      part(inside, item.gold.length > 1 ? "Right answers" : "Right answer", item.gold.join("\n"));
    }
    add(inside, "p", "note", `id ${item.id}; ${item.read.toLocaleString("en")} tokens of context`);
  };

  const draw = () => {
    for (const item of found.slice(drawn, drawn + PAGE)) {
      const box = add(list, "details", "item");
      const head = add(box, "summary", "");
      const word = item.right === null ? (item.score === null ? "" : (100 * item.score).toFixed(1)) : item.right ? "right" : "wrong";
      add(head, "span", `mark ${item.right === null ? "" : word}`, word);
      add(head, "span", "said", (item.choices ? item.prediction.join(" ") : item.text) || "(empty)");
      add(head, "span", "id", item.id);
      box.addEventListener("toggle", () => {
        if (box.open && !box.querySelector(".inside")) fill(item, add(box, "div", "inside"));
      });
    }
    drawn = Math.min(found.length, drawn + PAGE);
    more.hidden = drawn === found.length;
  };

  const choose = () => {
    const items = data[pick.value];
    const graded = items.every((item) => item.right === null);
    verdicts.disabled = graded;
    const verdict = graded ? "all" : verdicts.querySelector("input:checked").value;
    const words = search.value.trim().toLowerCase();
    found = items.filter((item) =>
      (verdict === "all" || item.right === (verdict === "right")) && (!words || haystack(item).includes(words)));
    counter.textContent = `${found.length} of ${items.length} items`;
    list.replaceChildren();
    drawn = 0;
    draw();
  };

  pick.addEventListener("change", choose);
  search.addEventListener("input", choose);
  verdicts.addEventListener("change", choose);
  more.addEventListener("click", draw);
  choose();
})();
