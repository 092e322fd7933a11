/** How fast something grows: over the last seconds, so that it neither jumps nor lags. */

const WINDOW_MS = 8_000;
/** Samples closer together than this are taken as one. */
const STEP_MS = 400;

/** A speed out of amounts and when they were reached. */
export class Pace {
  constructor() {
    /** @type {{ ms: number, amount: number }[]} */
    this.samples = [];
  }

  /**
   * @param {number} amount all that there is now
   * @param {number} [ms] of the page's clock
   */
  at(amount, ms = performance.now()) {
    const last = this.samples.at(-1);
    if (last && amount < last.amount) this.samples = [];
    const previous = this.samples.at(-2);
    if (last && previous && ms - previous.ms < STEP_MS) this.samples.pop();
    this.samples.push({ ms, amount });
    while (this.samples.length > 2 && ms - this.samples[1].ms > WINDOW_MS) this.samples.shift();
  }

  /**
   * What a second brings; 0 where nothing came for a window's time.
   * @param {number} [ms] of the page's clock
   */
  perSecond(ms = performance.now()) {
    const [first, last] = [this.samples.at(0), this.samples.at(-1)];
    if (!first || !last || first === last || ms - last.ms > WINDOW_MS) return 0;
    return ((last.amount - first.amount) * 1000) / (last.ms - first.ms);
  }
}
