/** Wheel travel that turns one page, in pixels: one notch of a usual wheel. */
const PAGE_TRAVEL = 80;
/** A touchpad goes on for a while after the fingers have left; one gesture must not run through the data. */
const REST_MS = 140;

/** Turns wheel movement into whole pages. Pure: time is given. */
export class WheelPager {
  private travel = 0;
  private lastTurn = -Infinity;
  private lastMove = -Infinity;

  /** Pages to turn now: -1, 0 or 1. */
  move(deltaPx: number, nowMs: number): number {
    if (nowMs - this.lastMove > 400 || Math.sign(deltaPx) !== Math.sign(this.travel)) this.travel = 0;
    this.lastMove = nowMs;
    this.travel += deltaPx;
    if (Math.abs(this.travel) < PAGE_TRAVEL || nowMs - this.lastTurn < REST_MS) return 0;
    const pages = Math.sign(this.travel);
    this.travel = 0;
    this.lastTurn = nowMs;
    return pages;
  }
}
