// What the page knows. `load` asks the server, or in an export the script that holds the answer.

const EXPORTED = "exported" in document.documentElement.dataset;
const waiting = new Map();

// The scripts of an export hand their object over here.
globalThis.receive = (key, value) => waiting.get(key)?.(value);

function fromScript(key) {
  return new Promise((resolve, reject) => {
    waiting.set(key, resolve);
    const script = document.createElement("script");
    script.src = `data/${key.replaceAll("/", "-")}.js`;
    script.onerror = () => reject(new Error(`${script.src} is missing`));
    script.onload = () => script.remove();
    document.head.append(script);
  });
}

async function load(key, after = 0) {
  if (EXPORTED) return fromScript(key);
  const response = await fetch(`api/${key}${after ? `?after=${after}` : ""}`);
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error);
  return answer;
}

const CACHED = 40;
const POLL_MS = 2000;

export class Store extends EventTarget {
  runs = [];
  status = "loading";
  #episodes = new Map();

  // Load the runs, then follow them. Events: "change" (something grew) and "status".
  async start() {
    const { runs } = await load("runs");
    this.runs = runs.map((run, number) => ({
      ...run, number, rows: [], lines: [], panels: [], waiting: 0, problems: {}, generation: -1,
    }));
    await this.#poll();
    if (!EXPORTED) this.#follow();
  }

  // The whole record of an episode, by its "run/part/step/place".
  episode(id) {
    if (!this.#episodes.has(id)) {
      const [run, ...rest] = id.split("/");
      const answer = load(`run/${run}/episode/${rest.join("/")}`);
      answer.catch(() => this.#episodes.delete(id));
      this.#episodes.set(id, answer);
      if (this.#episodes.size > CACHED) this.#episodes.delete(this.#episodes.keys().next().value);
    }
    return this.#episodes.get(id);
  }

  row(id) {
    return this.run(id.split("/")[0])?.rows.find((row) => row.id === id);
  }

  run(key) {
    return this.runs.find((run) => run.key === key);
  }

  async #follow() {
    for (;;) {
      const hasty = this.runs.some((run) => run.waiting);
      await new Promise((resolve) => setTimeout(resolve, hasty ? 50 : POLL_MS));
      if (document.hidden) continue;
      try {
        await this.#poll();
      } catch {
        this.#tell("stopped");
      }
    }
  }

  async #poll() {
    const state = await load("state");
    let changed = false;
    for (const [number, now] of state.runs.entries()) changed = (await this.#update(this.runs[number], now)) || changed;
    this.#tell(EXPORTED ? "exported" : "live");
    if (changed) this.dispatchEvent(new Event("change"));
  }

  async #update(run, now) {
    const reset = run.generation !== now.generation;
    if (reset) {
      Object.assign(run, { rows: [], lines: [], panels: [], generation: now.generation });
      this.#episodes.clear();
    }
    const changed = reset || run.waiting !== now.waiting
      || now.episodes > run.rows.length || now.lines > run.lines.length || now.panels > run.panels.length;
    Object.assign(run, { waiting: now.waiting, problems: now.problems });
    if (now.episodes > run.rows.length) {
      const { rows } = await load(`run/${run.key}/episodes`, run.rows.length);
      for (const row of rows) {
        row.run = run.number;
        row.key = run.key;
        row.id = row.place === null ? null : `${run.key}/${row.part}/${row.step}/${row.place}`;
        row.find = `${row.goal}\n${row.task}`.toLowerCase();
        run.rows.push(row);
      }
    }
    if (now.lines > run.lines.length) {
      run.lines.push(...(await load(`run/${run.key}/metrics`, run.lines.length)).lines);
    }
    if (now.panels > run.panels.length) {
      run.panels.push(...(await load(`run/${run.key}/panels`, run.panels.length)).panels);
    }
    return changed;
  }

  #tell(status) {
    if (this.status === status) return;
    this.status = status;
    this.dispatchEvent(new Event("status"));
  }
}
