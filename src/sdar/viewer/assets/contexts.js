// The student's prompt beside the teacher's, with the lines that only one of them has.

import { count, el } from "./dom.js";

// One comparison for each teacher: the main one, then those of further views.
export function contexts(turn, number) {
  const main = turn.teacher_prompt ? [["teacher", turn.teacher_prompt]] : [];
  const more = Object.entries(turn.views ?? {}).map(([name, change]) => [`${name} teacher`, changed(turn.prompt, change)]);
  return [...main, ...more].map(([who, prompt], i) => comparison(turn.prompt, prompt, who, number === 0 && i === 0));
}

// A prompt with `text` in place of `cut` characters at `at`; a character may be two units of a string.
function changed(prompt, { at, cut, text }) {
  const letters = Array.from(prompt);
  return [...letters.slice(0, at), text, ...letters.slice(at + cut)].join("");
}

function comparison(prompt, seen, who, open) {
  const [student, teacher] = differing(prompt.split("\n"), seen.split("\n"));
  const added = teacher.filter(([, only]) => only).length;
  const same = added === 0 && student.every(([, only]) => !only);
  const summary = same ? `The ${who}’s context is the student’s`
    : `The ${who}’s context beside the student’s: ${count(added, "line")} more`;
  const body = el("div.contexts", {}, side("student saw", student, "only"), side(`${who} saw`, teacher, "added"));
  return el("details", { open, data: { role: "contexts" } }, el("summary", {}, summary), body);
}

function side(title, lines, className) {
  const runs = [];
  for (const [line, only] of lines) {
    if (runs.length && runs.at(-1).only === only) runs.at(-1).lines.push(line);
    else runs.push({ only, lines: [line] });
  }
  const parts = runs.map(({ only, lines: text }, i) => {
    const joined = text.join("\n") + (i < runs.length - 1 ? "\n" : "");
    return only ? el(`span.${className}`, {}, joined) : joined;
  });
  return el("div", {}, el("h3", {}, title), el("pre", { tabIndex: 0 }, parts));
}

// Both texts as [line, whether the other lacks it], by a longest common subsequence of lines.
export function differing(a, b) {
  const common = Array.from({ length: a.length + 1 }, () => new Uint16Array(b.length + 1));
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      common[i][j] = a[i] === b[j] ? common[i + 1][j + 1] + 1 : Math.max(common[i + 1][j], common[i][j + 1]);
    }
  }
  const left = [];
  const right = [];
  let i = 0;
  let j = 0;
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) {
      left.push([a[i++], false]);
      right.push([b[j++], false]);
    } else if (j < b.length && (i === a.length || common[i][j + 1] >= common[i + 1][j])) right.push([b[j++], true]);
    else left.push([a[i++], true]);
  }
  return [left, right];
}
