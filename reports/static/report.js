"use strict";
// The script of a run's page: the timeline, and the button that copies the command. Everything that nodes said goes into the document as
// text (textContent, fillText), never as markup.
(() => {
  const $ = (id) => document.getElementById(id);
  const began = performance.now();

  // ---- the command

  const copy = $("copy");
  if (copy) {
    copy.hidden = false;
    copy.addEventListener("click", async () => {
      const text = $("command").textContent;
      let done = false;
      try { await navigator.clipboard.writeText(text); done = true; } catch { done = copyBySelection($("command")); }
      copy.textContent = done ? "Copied" : "Select and copy";
      setTimeout(() => { copy.textContent = "Copy"; }, 1500);
    });
  }

  // Pages from a disk or in a sandbox may have no clipboard: then the old way.
  function copyBySelection(element) {
    const range = document.createRange();
    range.selectNodeContents(element);
    getSelection().removeAllRanges();
    getSelection().addRange(range);
    try { return document.execCommand("copy"); } catch { return false; }
  }

  // ---- the history: unpacked as reports/packing.py packed it

  const ARRAYS = { u1: Uint8Array, u2: Uint16Array, u4: Uint32Array, i2: Int16Array, i4: Int32Array };
  const OPEN = 4294967295;

  async function unpack(base64) {
    const text = atob(base64);
    const bytes = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    const whole = new Uint8Array(await new Response(stream).arrayBuffer());
    const length = new DataView(whole.buffer).getUint32(0, true);
    const history = JSON.parse(new TextDecoder().decode(whole.subarray(4, 4 + length)));
    let at = 4 + length;
    for (const [name, type] of history.columns) {
      const size = Number(type[1]);
      history[name] = column(whole, at, history.count, type, size);
      at += history.count * size;
    }
    for (let i = 1, call = history.call; i < history.count; i++) call[i] += call[i - 1];
    return history;
  }

  function column(whole, at, count, type, size) {
    const bytes = new Uint8Array(count * size);
    for (let plane = 0; plane < size; plane++) {
      for (let i = 0, from = at + plane * count; i < count; i++) bytes[i * size + plane] = whole[from + i];
    }
    return new ARRAYS[type](bytes.buffer);
  }

  // ---- words, as reports/words.py has them

  const seconds = (ns, digits = 3) => `${(ns / 1e9).toFixed(digits)} s`;
  function lasting(ns) {
    for (const [unit, scale] of [["s", 1e9], ["ms", 1e6], ["µs", 1e3]]) {
      if (ns >= scale) { const v = ns / scale; return `${v < 10 ? v.toFixed(2) : v < 100 ? v.toFixed(1) : v.toFixed(0)} ${unit}`; }
    }
    return `${ns} ns`;
  }
  const short = (value, limit = 40) => { const s = value === null ? "nil" : String(value); return s.length > limit ? `${s.slice(0, limit - 1)}…` : s; };

  // ---- the timeline

  async function main() {
    const data = JSON.parse($("data").textContent);
    const packed = $("packed").textContent;
    const canvas = $("canvas");
    if (!canvas || !packed) return;
    const history = await unpack(packed);
    const timeline = new Timeline(canvas, data, history);
    $("timeline-note").remove();
    $("tools").hidden = false;
    for (const button of document.querySelectorAll("button.jump")) {
      const finding = data.findings[Number(button.dataset.finding) - 1];
      button.hidden = finding.time === null && finding.operations.length === 0;
      button.addEventListener("click", () => timeline.jump(finding));
    }
    timeline.draw();
    showSideways();
    new ResizeObserver(showSideways).observe(document.body);
    $("stage").dataset.readyMs = String(Math.round(performance.now() - began));
    $("stage").dataset.operations = String(history.count);
  }

  // A drawing that does not fit says that it can be moved.
  function showSideways() {
    for (const box of document.querySelectorAll(".drawing")) box.previousElementSibling.hidden = box.scrollWidth <= box.clientWidth + 2;
  }

  const AXIS = 32, ROW = 19, GAP = 9, OVERVIEW = 20;
  const NAMES = ["ok", "failed", "unknown", "not equal"];
  const WORST = [1, 3, 4, 2]; // of each outcome: unknown over failed over not equal over ok

  class Timeline {
    constructor(canvas, data, history) {
      this.canvas = canvas; this.data = data; this.history = history;
      this.context = canvas.getContext("2d");
      // What came before a freeze is what one wants to see; the freeze itself may have lasted for minutes.
      const frozen = data.faults.find((fault) => fault.family === "freeze");
      this.end = data.end_ns; this.from = 0; this.to = frozen ? Math.min(this.end, Math.max(frozen.begin * 1.2, 1e9)) : this.end;
      this.smallest = Math.min(this.end, Math.max(20 * history.unit_ns, 20000));
      this.nodes = data.nodes.filter((node) => data.roles[node] || data.faults.some((fault) => fault.targets.includes(node)));
      this.faultRows = packRows(data.faults);
      this.lanes = this.indexLanes();
      this.marked = new Set(data.findings.flatMap((finding) => finding.operations));
      this.timed = data.findings.filter((finding) => finding.time !== null);
      this.focused = new Set();
      this.mask = null;
      this.pointers = new Map();
      this.fillFilters(); this.listen(); this.resize();
    }

    indexLanes() {
      const { lane, lanes, count } = this.history;
      const sizes = new Uint32Array(lanes.length);
      for (let i = 0; i < count; i++) sizes[lane[i]]++;
      const found = Array.from(sizes, (size) => new Uint32Array(size));
      sizes.fill(0);
      for (let i = 0; i < count; i++) found[lane[i]][sizes[lane[i]]++] = i;
      return found;
    }

    call(i) { return this.history.call[i] * this.history.unit_ns; }
    over(i) { const took = this.history.took[i]; return took === OPEN ? this.end : this.call(i) + took * this.history.unit_ns; }

    // -- layout

    resize() {
      const width = Math.max(240, this.canvas.parentElement.clientWidth);
      this.gutter = width < 560 ? 62 : 124;
      this.laneHeight = Math.max(6, Math.min(16, Math.floor(560 / Math.max(1, this.lanes.length))));
      let y = AXIS;
      this.faultTop = y; y += this.faultRows.length * ROW + (this.faultRows.length ? GAP : 0);
      this.nodeTop = y; y += this.nodes.length * ROW + (this.nodes.length ? GAP : 0);
      this.laneTop = y; y += this.lanes.length * this.laneHeight + GAP;
      this.overviewTop = y; y += OVERVIEW + 4;
      this.width = width; this.height = y;
      const ratio = window.devicePixelRatio || 1;
      this.canvas.style.height = `${y}px`;
      this.canvas.width = Math.round(width * ratio); this.canvas.height = Math.round(y * ratio);
      this.context.setTransform(ratio, 0, 0, ratio, 0, 0);
      this.plotWidth = width - this.gutter - 6;
      this.colours = this.readColours();
      this.request();
    }

    readColours() {
      const style = getComputedStyle(document.documentElement);
      const read = (name) => style.getPropertyValue(`--${name}`).trim();
      const names = ["panel", "ink", "ink-2", "line", "soft", "band", "band-ink", "invalid", "ok", "info", "fail", "unequal", "leader", "candidate", "pre", "follower", "down"];
      return Object.fromEntries(names.map((name) => [name, read(name)]));
    }

    x(ns) { return this.gutter + (ns - this.from) / (this.to - this.from) * this.plotWidth; }
    ns(x) { return this.from + (x - this.gutter) / this.plotWidth * (this.to - this.from); }

    // -- moving

    show(from, to) {
      const span = Math.min(this.end, Math.max(this.smallest, to - from));
      from = Math.max(0, Math.min(this.end - span, from));
      this.from = from; this.to = from + span;
      this.request();
    }
    zoom(factor, at = (this.from + this.to) / 2) { this.show(at - (at - this.from) * factor, at + (this.to - at) * factor); }
    pan(part) { const step = (this.to - this.from) * part; this.show(this.from + step, this.to + step); }

    jump(finding) {
      const calls = finding.operations.filter((i) => i < this.history.count);
      const times = finding.span ? [...finding.span] : [...calls.map((i) => this.call(i)), ...calls.map((i) => (this.history.took[i] === OPEN ? this.call(i) : this.over(i)))];
      if (!finding.span && finding.time !== null) times.push(finding.time);
      if (!times.length) return;
      const first = Math.min(...times), last = Math.max(...times);
      const margin = Math.max((last - first) * 0.3, 2e7);
      this.focused = new Set(calls);
      this.clearFilters();
      this.show(first - margin, last + margin);
      this.canvas.scrollIntoView({ block: "center" });
      this.canvas.focus({ preventScroll: true });
    }

    // -- drawing

    request() {
      if (this.pending) return;
      this.pending = requestAnimationFrame(() => { this.pending = 0; this.draw(); });
    }

    draw() {
      const c = this.context;
      c.clearRect(0, 0, this.width, this.height);
      c.textBaseline = "middle";
      c.save();
      c.beginPath(); c.rect(this.gutter, 0, this.plotWidth, this.overviewTop); c.clip();
      this.drawBands(); this.drawGrid(); this.drawFaults(); this.drawNodes(); this.drawOperations(); this.drawFindings();
      c.restore();
      this.drawAxis(); this.drawLabels(); this.drawOverview();
      $("range").textContent = `${seconds(this.from, this.digits())} – ${seconds(this.to, this.digits())}`;
      const stage = this.canvas.parentElement;
      stage.dataset.from = String(Math.round(this.from)); stage.dataset.to = String(Math.round(this.to));
    }

    digits() { return Math.max(0, Math.min(6, 2 - Math.floor(Math.log10((this.to - this.from) / 1e9)))); }

    text(words, x, y, colour, size = 11, align = "left", family = "system-ui, sans-serif") {
      const c = this.context;
      c.font = `${size}px ${family}`; c.textAlign = align; c.fillStyle = colour;
      c.fillText(words, x, y);
    }

    // Words inside a bar, if they fit.
    inside(words, x, y, width, colour, size = 10.5) {
      const c = this.context;
      c.font = `${size}px system-ui, sans-serif`; c.textAlign = "left"; c.fillStyle = colour;
      const left = Math.max(x, this.gutter) + 4, room = Math.min(x + width, this.gutter + this.plotWidth) - left - 3;
      if (room < 12) return;
      if (c.measureText(words).width <= room) { c.fillText(words, left, y); return; }
      let cut = Math.floor(words.length * room / c.measureText(words).width) - 1;
      if (cut >= 3) c.fillText(`${words.slice(0, cut)}…`, left, y);
    }

    drawBands() {
      const c = this.context;
      c.fillStyle = this.colours.band;
      for (const fault of this.data.faults) {
        const x0 = this.x(fault.begin), x1 = this.x(fault.end);
        if (x1 >= this.gutter && x0 <= this.width) c.fillRect(x0, AXIS, Math.max(1, x1 - x0), this.overviewTop - AXIS - GAP / 2);
      }
    }

    drawFaults() {
      const c = this.context;
      this.faultRows.forEach((row, number) => {
        const y = this.faultTop + number * ROW + 2;
        for (const fault of row) {
          const x0 = this.x(fault.begin), width = Math.max(2, this.x(fault.end) - x0);
          c.fillStyle = this.colours["band-ink"]; c.globalAlpha = 0.88;
          c.fillRect(x0, y, width, ROW - 4); c.globalAlpha = 1;
          this.inside(`${fault.id} ${fault.summary}`, x0, y + (ROW - 4) / 2, width, this.colours.panel);
        }
      });
    }

    drawNodes() {
      const c = this.context;
      const colour = { leader: "leader", candidate: "candidate", "pre-candidate": "pre" };
      this.nodes.forEach((node, number) => {
        const y = this.nodeTop + number * ROW + 2, height = ROW - 4;
        for (const [role, term, from, to] of this.data.roles[node] || []) {
          const x0 = this.x(from), x1 = this.x(Math.min(to, this.end));
          if (x1 < this.gutter || x0 > this.width) continue;
          c.fillStyle = this.colours[colour[role] || "follower"];
          const inset = role === "leader" ? 0 : 4;
          c.fillRect(x0, y + inset, Math.max(1, x1 - x0), height - 2 * inset);
          if (role === "leader") this.inside(`leads term ${term}`, x0, y + height / 2, x1 - x0, this.colours.panel);
        }
        for (const fault of this.data.faults) {
          if (fault.targets.includes(node)) this.drawHit(fault, y, height);
        }
      });
    }

    // A node that a fault hits: one that is down is a hole, the others are a frame, so that role and term stay visible.
    drawHit(fault, y, height) {
      const c = this.context;
      const x0 = this.x(fault.hit), width = Math.max(2, this.x(fault.end) - x0);
      if (fault.down) {
        c.fillStyle = this.colours.down; c.fillRect(x0, y + 2, width, height - 4);
        this.inside(fault.down, x0, y + height / 2, width, "#e8eaed", 10);
        return;
      }
      c.strokeStyle = this.colours["band-ink"]; c.lineWidth = 1.5;
      c.setLineDash(fault.family === "pause" ? [2, 2] : [6, 3]);
      c.strokeRect(x0 + 0.75, y - 0.5, width - 1.5, height + 1);
      c.setLineDash([]);
      if (fault.family === "pause") {
        c.fillStyle = this.colours.panel; c.globalAlpha = 0.6; c.fillRect(x0 + 1.5, y, width - 3, height); c.globalAlpha = 1;
        this.inside("paused", x0, y + height / 2, width, this.colours.ink, 10);
      }
    }

    drawOperations() {
      for (let lane = 0; lane < this.lanes.length; lane++) {
        const rows = this.lanes[lane];
        const begin = Math.max(0, this.firstAfter(rows, this.from) - 1), end = this.firstAfter(rows, this.to);
        if ((end - begin) * 2.5 > this.plotWidth) this.drawDense(lane, rows, begin, end);
        else this.drawSparse(lane, rows, begin, end);
      }
    }

    // The first place in rows whose call is after ns.
    firstAfter(rows, ns) {
      let low = 0, high = rows.length;
      while (low < high) { const middle = (low + high) >> 1; if (this.call(rows[middle]) <= ns) low = middle + 1; else high = middle; }
      return low;
    }

    // More operations than pixels: each pixel shows the worst outcome under it (unknown over failed over not equal over ok).
    drawDense(lane, rows, begin, end) {
      const { call, took, outcome, unit_ns: unit } = this.history;
      const width = Math.ceil(this.plotWidth);
      const pixels = this.pixels && this.pixels.length === width ? this.pixels.fill(0) : (this.pixels = new Uint8Array(width));
      const scale = this.plotWidth / (this.to - this.from) * unit, offset = this.from / unit;
      for (let at = begin; at < end; at++) {
        const i = rows[at];
        if (this.mask && !this.mask[i]) continue;
        const worst = WORST[outcome[i]];
        let x = Math.max(0, Math.floor((call[i] - offset) * scale));
        const last = Math.min(width - 1, took[i] === OPEN ? width - 1 : Math.floor((call[i] + took[i] - offset) * scale));
        for (; x <= last; x++) if (pixels[x] < worst) pixels[x] = worst;
      }
      const c = this.context, y = this.laneTop + lane * this.laneHeight + 1, height = this.laneHeight - 2;
      const colours = [null, this.colours.ok, this.colours.unequal, this.colours.fail, this.colours.info];
      for (let x = 0; x < width;) {
        const worst = pixels[x];
        let until = x + 1;
        while (until < width && pixels[until] === worst) until++;
        if (worst) { c.fillStyle = colours[worst]; c.fillRect(this.gutter + x, y, until - x, height); }
        x = until;
      }
    }

    drawSparse(lane, rows, begin, end) {
      const c = this.context, y = this.laneTop + lane * this.laneHeight + 1, height = this.laneHeight - 2;
      const colours = [this.colours.ok, this.colours.fail, this.colours.info, this.colours.unequal];
      for (let at = begin; at < end; at++) {
        const i = rows[at];
        if (this.mask && !this.mask[i]) continue;
        const x0 = this.x(this.call(i)), width = Math.max(1.5, this.x(this.over(i)) - x0);
        if (x0 + width < this.gutter) continue;
        c.fillStyle = colours[this.history.outcome[i]];
        c.fillRect(x0, y, width, height);
        if (width > 26 && height >= 9) this.inside(this.operation(i), x0, y + height / 2 + 0.5, width, this.colours.panel, Math.min(10.5, height - 1));
      }
    }

    frame(x, y, width, height, strong) {
      const c = this.context;
      c.strokeStyle = this.colours.invalid; c.lineWidth = strong ? 3 : 2;
      c.strokeRect(x - 2, y - 1.5, width + 4, height + 3);
    }

    drawFindings() {
      const c = this.context;
      // Where bars are thinner than a pixel, a finding's operations still get their frames.
      for (const i of this.marked) {
        if (i >= this.history.count || (this.mask && !this.mask[i])) continue;
        const x0 = this.x(this.call(i)), width = Math.max(2, this.x(this.over(i)) - x0);
        if (x0 + width < this.gutter || x0 > this.width) continue;
        if (width < 6) this.frame(x0 - 1, this.laneTop + this.history.lane[i] * this.laneHeight + 1, width + 2, this.laneHeight - 2, this.focused.has(i));
        else this.frame(x0, this.laneTop + this.history.lane[i] * this.laneHeight + 1, width, this.laneHeight - 2, this.focused.has(i));
      }
      const shown = this.timed.map((finding) => [finding.number, this.x(finding.time)]).filter(([, x]) => x >= this.gutter && x <= this.width);
      c.strokeStyle = this.colours.invalid; c.lineWidth = 1.2; c.setLineDash([4, 3]);
      for (const [, x] of shown) { c.beginPath(); c.moveTo(x, AXIS + 1); c.lineTo(x, this.overviewTop - GAP / 2); c.stroke(); }
      c.setLineDash([]);
      // Numbers that would cover each other stand side by side; of a crowd, those that are read first.
      const taken = [];
      for (const [number, x] of shown) {
        const at = [x, x + 16, x + 32].find((place) => taken.every((other) => Math.abs(other - place) >= 16));
        if (at === undefined) continue;
        taken.push(at);
        c.lineWidth = 1; c.beginPath(); c.moveTo(at, AXIS - 7); c.lineTo(x, AXIS + 2); c.stroke();
        c.fillStyle = this.colours.invalid; c.beginPath(); c.arc(at, AXIS - 7, 7, 0, 7); c.fill();
        this.text(String(number), at, AXIS - 6.5, this.colours.panel, 10, "center");
      }
    }

    ticks() {
      const step = niceStep((this.to - this.from) / Math.max(2, this.plotWidth / 90));
      const digits = Math.max(0, Math.min(9, -Math.floor(Math.log10(step / 1e9) + 1e-9)));
      const found = [];
      for (let ns = Math.ceil(this.from / step) * step; ns <= this.to; ns += step) found.push([Math.round(this.x(ns)) + 0.5, seconds(ns, digits)]);
      return found;
    }

    drawGrid() {
      const c = this.context;
      c.strokeStyle = this.colours.line; c.lineWidth = 1;
      for (const [x] of this.ticks()) { c.beginPath(); c.moveTo(x, AXIS - 4); c.lineTo(x, this.overviewTop - GAP / 2); c.stroke(); }
    }

    drawAxis() {
      for (const [x, words] of this.ticks()) {
        if (x < this.width - 22) this.text(words, x, 9, this.colours["ink-2"], 11, x < this.gutter + 20 ? "left" : "center");
      }
    }

    drawLabels() {
      const narrow = this.gutter < 100, ink = this.colours["ink-2"];
      if (this.faultRows.length) this.text("faults", 8, this.faultTop + ROW / 2, ink);
      this.nodes.forEach((node, number) => this.text(short(node, narrow ? 8 : 16), 8, this.nodeTop + number * ROW + ROW / 2, this.colours.ink));
      const every = Math.max(1, Math.ceil(11 / this.laneHeight));
      this.history.lanes.forEach((label, lane) => {
        if (lane % every) return;
        const words = narrow ? label.replace("worker ", "w") : label;
        this.text(short(words, narrow ? 9 : 19), 8, this.laneTop + (lane + 0.5) * this.laneHeight, ink, Math.min(11, Math.max(9, this.laneHeight)));
      });
    }

    drawOverview() {
      const c = this.context, y = this.overviewTop, whole = (ns) => this.gutter + ns / this.end * this.plotWidth;
      c.fillStyle = this.colours.soft; c.fillRect(this.gutter, y, this.plotWidth, OVERVIEW);
      c.fillStyle = this.colours.band;
      for (const fault of this.data.faults) c.fillRect(whole(fault.begin), y, Math.max(1, whole(fault.end) - whole(fault.begin)), OVERVIEW);
      c.fillStyle = this.colours.invalid;
      for (const finding of this.data.findings) if (finding.time !== null) c.fillRect(whole(finding.time) - 1, y, 2, OVERVIEW);
      c.strokeStyle = this.colours["ink-2"]; c.lineWidth = 1.5;
      c.strokeRect(whole(this.from) + 0.75, y + 0.75, Math.max(3, whole(this.to) - whole(this.from) - 1.5), OVERVIEW - 1.5);
      this.text("whole run", 8, y + OVERVIEW / 2, this.colours["ink-2"]);
    }

    // -- what is under the pointer

    operation(i) {
      const h = this.history, f = h.functions[h.f[i]];
      if (h.expected[i] >= 0) return `${f} ${short(h.values[h.expected[i]])} → ${short(h.values[h.value[i]])}`;
      const value = h.values[h.value[i]], result = h.result[i] >= 0 ? h.values[h.result[i]] : null;
      if (value === null || value === undefined) return h.outcome[i] === 0 ? `${f} → ${short(result)}` : f;
      return `${f} ${short(value)}`;
    }

    rowsAt(x, y) {
      if (x < this.gutter) return null;
      const ns = this.ns(x);
      if (y >= this.laneTop && y < this.overviewTop - GAP) return this.operationRows(Math.floor((y - this.laneTop) / this.laneHeight), ns);
      if (y >= this.nodeTop && y < this.laneTop - GAP) return this.nodeRows(this.nodes[Math.floor((y - this.nodeTop) / ROW)], ns);
      if (y >= this.faultTop && y < this.nodeTop - GAP) return this.faultRowsAt(this.faultRows[Math.floor((y - this.faultTop) / ROW)], ns);
      return null;
    }

    operationRows(lane, ns) {
      const rows = this.lanes[lane];
      if (!rows) return null;
      const reach = (this.to - this.from) / this.plotWidth * 4, near = this.firstAfter(rows, ns);
      let best = -1, distance = reach;
      for (let at = Math.max(0, near - 3); at < Math.min(rows.length, near + 2); at++) {
        const i = rows[at];
        if (this.mask && !this.mask[i]) continue;
        const away = Math.max(0, this.call(i) - ns, ns - this.over(i));
        if (away < distance) { best = i; distance = away; }
      }
      if (best < 0) return null;
      const h = this.history, took = h.took[best];
      const rowsOut = [["", this.operation(best)]];
      const add = (name, value) => { if (value !== null && value !== undefined && value !== "") rowsOut.push([name, String(value)]); };
      if (h.keys[h.key[best]] !== null) add("key", short(h.keys[h.key[best]], 120));
      add("outcome", NAMES[h.outcome[best]] + (h.final[best] ? ", final read" : ""));
      if (h.error[best] >= 0) add("error", short(h.errors[h.error[best]], 160));
      add("called", seconds(this.call(best), 6));
      add("took", took === OPEN ? "never seen to end" : lasting(took * h.unit_ns));
      add("by", `worker ${lane} (process ${h.process[best]})`);
      if (h.node[best] >= 0) add("answered by", h.nodes[h.node[best]]);
      add("number", best);
      return rowsOut;
    }

    nodeRows(node, ns) {
      if (node === undefined) return null;
      const rows = [["", node]];
      const segment = (this.data.roles[node] || []).find(([, , from, to]) => from <= ns && ns < to);
      rows.push(["role", segment ? segment[0] : "not known"]);
      if (segment) rows.push(["term", String(segment[1])], ["since", seconds(Math.max(0, segment[2]))]);
      for (const fault of this.data.faults) if (fault.targets.includes(node) && fault.begin <= ns && ns < fault.end) rows.push(["fault", fault.summary]);
      return rows;
    }

    faultRowsAt(row, ns) {
      const fault = (row || []).find((one) => one.begin <= ns && ns <= one.end);
      return fault ? [["", `fault ${fault.id}: ${fault.family}`], ["what", fault.summary], ["from", seconds(fault.begin)], ["to", seconds(fault.end)]] : null;
    }

    tip(x, y) {
      const tip = $("tip"), rows = this.rowsAt(x, y);
      tip.hidden = !rows;
      if (!rows) return;
      tip.replaceChildren(...rows.map(([name, value]) => {
        const line = document.createElement(name ? "div" : "b");
        if (!name) { line.textContent = value; return line; }
        line.className = "row";
        for (const words of [name, value]) { const part = document.createElement("span"); part.textContent = words; line.append(part); }
        return line;
      }));
      const left = Math.min(x + 14, this.width - tip.offsetWidth - 6), above = y + 18 + tip.offsetHeight > this.height;
      tip.style.left = `${Math.max(4, left)}px`;
      tip.style.top = `${Math.max(2, above ? y - tip.offsetHeight - 10 : y + 16)}px`;
    }

    // -- filters

    fillFilters() {
      const list = $("keys");
      for (const key of this.history.keys.slice(0, 500)) { const option = document.createElement("option"); option.value = key === null ? "nil" : String(key); list.append(option); }
      for (const id of ["only-key", "only-outcome", "only-process"]) $(id).addEventListener("input", () => this.filter());
    }

    clearFilters() { for (const id of ["only-key", "only-outcome", "only-process"]) $(id).value = ""; this.mask = null; }

    filter() {
      const h = this.history, key = $("only-key").value.trim(), outcome = $("only-outcome").value, process = $("only-process").value.trim();
      this.mask = null;
      if (key || outcome || process) {
        const keys = new Set(); h.keys.forEach((one, code) => { if ((one === null ? "nil" : String(one)) === key) keys.add(code); });
        this.mask = new Uint8Array(h.count);
        for (let i = 0; i < h.count; i++) {
          this.mask[i] = (!key || keys.has(h.key[i])) && (!outcome || h.outcome[i] === Number(outcome)) && (!process || h.process[i] === Number(process)) ? 1 : 0;
        }
      }
      this.request();
    }

    // -- input

    listen() {
      const canvas = this.canvas;
      new ResizeObserver(() => { if (Math.max(240, canvas.parentElement.clientWidth) !== this.width) this.resize(); }).observe(canvas.parentElement);
      matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.resize());
      canvas.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
      canvas.addEventListener("pointerdown", (event) => this.down(event));
      canvas.addEventListener("pointermove", (event) => this.move(event));
      for (const kind of ["pointerup", "pointercancel"]) canvas.addEventListener(kind, (event) => { this.pointers.delete(event.pointerId); canvas.classList.remove("dragging"); });
      canvas.addEventListener("pointerleave", () => { $("tip").hidden = true; });
      canvas.addEventListener("dblclick", (event) => this.zoom(0.4, this.ns(event.offsetX)));
      canvas.addEventListener("keydown", (event) => { if (!event.ctrlKey && !event.metaKey && !event.altKey && this.act(event.key)) event.preventDefault(); });
      $("tools").addEventListener("click", (event) => { if (event.target.dataset.do) this.act(event.target.dataset.do); });
    }

    act(name) {
      const acts = {
        in: () => this.zoom(0.5), "+": () => this.zoom(0.5), "=": () => this.zoom(0.5), out: () => this.zoom(2), "-": () => this.zoom(2),
        left: () => this.pan(-0.25), ArrowLeft: () => this.pan(-0.25), right: () => this.pan(0.25), ArrowRight: () => this.pan(0.25),
        fit: () => this.show(0, this.end), 0: () => this.show(0, this.end), Home: () => this.show(0, this.to - this.from), End: () => this.show(this.end, this.end + this.to - this.from),
      };
      if (!acts[name]) return false;
      acts[name]();
      return true;
    }

    // A wheel over the picture scrolls the page, unless the reader has clicked into it (or holds Ctrl): else the page could not be scrolled past it.
    wheel(event) {
      const sideways = Math.abs(event.deltaX) > Math.abs(event.deltaY) || event.shiftKey;
      if (!sideways && !event.ctrlKey && !event.metaKey && document.activeElement !== this.canvas) {
        $("hint").hidden = false;
        clearTimeout(this.hinted);
        this.hinted = setTimeout(() => { $("hint").hidden = true; }, 2500);
        return;
      }
      event.preventDefault();
      const lines = event.deltaMode === 1 ? 16 : 1;
      if (sideways) this.pan((event.deltaX || event.deltaY) * lines / this.plotWidth);
      else this.zoom(Math.exp(Math.max(-120, Math.min(120, event.deltaY * lines)) * 0.0035), this.ns(Math.max(this.gutter, event.offsetX)));
    }

    down(event) {
      if (event.button !== 0) return;
      this.canvas.setPointerCapture(event.pointerId);
      this.canvas.focus({ preventScroll: true });
      this.pointers.set(event.pointerId, event.offsetX);
      this.canvas.classList.add("dragging");
      this.overview = event.offsetY >= this.overviewTop;
      if (this.overview) this.centre(event.offsetX);
    }

    centre(x) {
      const middle = (x - this.gutter) / this.plotWidth * this.end, half = (this.to - this.from) / 2;
      this.show(middle - half, middle + half);
    }

    move(event) {
      const before = this.pointers.get(event.pointerId);
      if (before === undefined) { this.tip(event.offsetX, event.offsetY); return; }
      $("tip").hidden = true;
      if (this.overview) { this.centre(event.offsetX); return; }
      if (this.pointers.size === 2) { this.pinch(event, before); return; }
      const step = (before - event.offsetX) / this.plotWidth * (this.to - this.from);
      this.pointers.set(event.pointerId, event.offsetX);
      this.show(this.from + step, this.to + step);
    }

    pinch(event, before) {
      const [other] = [...this.pointers].filter(([id]) => id !== event.pointerId).map(([, x]) => x);
      this.pointers.set(event.pointerId, event.offsetX);
      const was = Math.abs(before - other), is = Math.abs(event.offsetX - other);
      if (was > 8 && is > 8) this.zoom(was / is, this.ns((event.offsetX + other) / 2));
    }
  }

  // Faults in as few rows as they fit without overlapping.
  function packRows(faults) {
    const rows = [];
    for (const fault of [...faults].sort((a, b) => a.begin - b.begin)) {
      const row = rows.find((one) => one[one.length - 1].end <= fault.begin);
      if (row) row.push(fault); else if (rows.length < 12) rows.push([fault]); else rows[rows.length - 1].push(fault);
    }
    return rows;
  }

  function niceStep(rough) {
    const power = 10 ** Math.floor(Math.log10(rough));
    return [1, 2, 5, 10].map((factor) => factor * power).find((step) => step >= rough);
  }

  main().catch((error) => {
    const note = $("timeline-note");
    if (note) note.textContent = `The timeline could not be drawn: ${error.message}`;
  });
})();
