// Rows of one height in a scrolling element: only those in sight are elements, however many there are.

export class Windowed {
  drawn = new Map();

  // `scroller` scrolls over `inner`, which holds the rows; `row(number)` makes the element of a row. Rows `height`
  // pixels high; `spare` more than are in sight are drawn above and below.
  constructor(scroller, inner, height, spare, row) {
    Object.assign(this, { scroller, inner, height, spare, row });
  }

  // Forget all elements: the rows are others now, `count` of them.
  reset(count) {
    this.count = count;
    this.inner.style.height = `${count * this.height}px`;
    for (const node of this.drawn.values()) node.remove();
    this.drawn.clear();
  }

  draw() {
    const { scrollTop, clientHeight } = this.scroller;
    const first = Math.max(0, Math.floor(scrollTop / this.height) - this.spare);
    const last = Math.min(this.count, Math.ceil((scrollTop + clientHeight) / this.height) + this.spare);
    for (const [number, node] of this.drawn) {
      if (number < first || number >= last) {
        node.remove();
        this.drawn.delete(number);
      }
    }
    for (let number = first; number < last; number++) {
      if (!this.drawn.has(number)) this.drawn.set(number, this.inner.appendChild(this.row(number)));
    }
  }
}
