// Unpacks the programs and answers questions about them. Everything here is data; nothing touches the page.
//
// The index (see packing.py): tasks[], populations[], rankers[], statuses[], details[] (texts of failing tests),
// programs: columns of equal length (task, population, status, detail, failing: numbers into those lists; text: number
// into the texts of all blocks; held of tests: tests passed), scores[ranker][program] or null, blocks: texts in each.

async function unpack(id) {
  const coded = atob(document.getElementById(id).textContent.trim());
  const bytes = new Uint8Array(coded.length);
  for (let i = 0; i < coded.length; i++) bytes[i] = coded.charCodeAt(i);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
}

class ProgramData {
  static async load() {
    return new ProgramData(await unpack("data-index"));
  }

  constructor(index) {
    Object.assign(this, index);
    this.count = index.programs.task.length;
    this.unpacked = new Map();
    this.standings = new Map();
    this.groups = new Map();
    const { task, population } = index.programs;
    for (let i = 0; i < this.count; i++) {
      const key = task[i] * this.populations.length + population[i];
      if (!this.groups.has(key)) this.groups.set(key, []);
      this.groups.get(key).push(i);
    }
  }

  groupOf(i) {
    return this.groups.get(this.programs.task[i] * this.populations.length + this.programs.population[i]);
  }

  score(ranker, i) {
    return this.scores.length ? this.scores[ranker][i] : null;
  }

  /** Of each program under a ranker: `rank` (1 + programs of its task and generator scored higher; 0: no score) and
   * `tied` (how many share it). */
  standing(ranker) {
    if (!this.standings.has(ranker)) {
      const rank = new Int32Array(this.count), tied = new Int32Array(this.count);
      const scores = this.scores[ranker] || [];
      for (const group of this.groups.values()) {
        const order = group.filter((i) => scores[i] != null).sort((a, b) => scores[b] - scores[a]);
        for (let start = 0, end; start < order.length; start = end) {
          end = start + 1;
          while (end < order.length && scores[order[end]] === scores[order[start]]) end++;
          for (let k = start; k < end; k++) [rank[order[k]], tied[order[k]]] = [start + 1, end - start];
        }
      }
      this.standings.set(ranker, { rank, tied });
    }
    return this.standings.get(ranker);
  }

  /** The text of a number; unpacks its block when that was not yet done. */
  async text(number) {
    let block = 0;
    while (number >= this.blocks[block]) number -= this.blocks[block++];
    return (await this.block(block))[number];
  }

  block(number) {
    if (!this.unpacked.has(number)) this.unpacked.set(number, unpack(`data-source-${number}`));
    return this.unpacked.get(number);
  }

  /** Every text, in order. */
  async texts() {
    return (await Promise.all(this.blocks.map((_, number) => this.block(number)))).flat();
  }

  source(i) {
    return this.text(this.programs.text[i]);
  }

  /** Tasks of one generator with what a ranker makes of them. */
  taskRows(ranker, populations) {
    const { rank, tied } = this.standing(ranker);
    const passed = this.programs.passed;
    const rows = [];
    for (const group of this.groups.values()) {
      const first = group[0];
      if (populations >= 0 && this.programs.population[first] !== populations) continue;
      const correct = group.filter((i) => passed[i]);
      const top = group.filter((i) => rank[i] === 1);
      const best = correct.reduce((low, i) => (rank[i] && rank[i] < low ? rank[i] : low), Infinity);
      rows.push({
        task: this.programs.task[first], population: this.programs.population[first], size: group.length,
        correct: correct.length, chosen: top.length ? top.filter((i) => passed[i]).length / top.length : NaN, best, tied: tied[top[0]],
      });
    }
    return rows;
  }
}
