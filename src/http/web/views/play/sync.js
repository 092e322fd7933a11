/** Two films that play as one: the result leads, the source follows. */

/** Farther apart than this it jumps, else its speed is bent a little until they meet. */
const JUMP_S = 0.25;
const BEND_MAX = 0.08;

/** Result and source in step. */
export class Sync {
  /**
   * @param {HTMLVideoElement} lead
   * @param {HTMLVideoElement} follow
   */
  constructor(lead, follow) {
    this.lead = lead;
    this.follow = follow;
    /** Frames a second: over, under. @type {[number, number]} */
    this.fps = [25, 1];
    /** How much later the source shows the same, in seconds. */
    this.offset = 0;
    this.speed = 1;
    /** The time of the frame that is shown, where the browser says it. */
    this.shownAt = 0;
    this.frame = 0;
    /** Whether something plays, or would if it had come. */
    this.playing = false;
    const align = () => this.align(true);
    for (const event of ["seeked", "loadedmetadata"]) lead.addEventListener(event, align);
    follow.addEventListener("loadedmetadata", align);
    lead.addEventListener("waiting", () => follow.pause());
    lead.addEventListener("playing", () => this.followOn());
    lead.addEventListener("pause", () => follow.pause());
    lead.addEventListener("ended", () => this.ended());
    lead.addEventListener("ratechange", () => this.align(false));
    this.closed = false;
    this.watchFrames();
    this.loop();
  }

  close() {
    this.closed = true;
    cancelAnimationFrame(this.frame);
    this.lead.pause();
    this.follow.pause();
  }

  /** @private */
  ended() {
    this.playing = false;
    this.follow.pause();
  }

  /** Whether the source is there and can be shown. */
  get hasFollower() {
    return this.follow.readyState >= HTMLMediaElement.HAVE_METADATA;
  }

  /** @private */
  watchFrames() {
    const next = (/** @type {number} */ _, /** @type {VideoFrameCallbackMetadata} */ shown) => {
      this.shownAt = shown.mediaTime;
      if (!this.closed) this.lead.requestVideoFrameCallback(next);
    };
    if ("requestVideoFrameCallback" in this.lead) this.lead.requestVideoFrameCallback(next);
    else this.shownAt = NaN;
  }

  /** @private */
  loop() {
    if (this.closed) return;
    if (!this.lead.paused) this.align(false);
    this.frame = requestAnimationFrame(() => this.loop());
  }

  /**
   * Brings the source to where the result is.
   * @private
   * @param {boolean} exactly
   */
  align(exactly) {
    const { lead, follow } = this;
    if (!this.hasFollower) return;
    const last = Number.isFinite(follow.duration) ? follow.duration : Infinity;
    const wanted = Math.min(last, Math.max(0, lead.currentTime + this.offset));
    const ahead = follow.currentTime - wanted;
    if (exactly || Math.abs(ahead) > JUMP_S) {
      if (Math.abs(ahead) > 1e-4) follow.currentTime = wanted;
      follow.playbackRate = this.speed;
      return;
    }
    const bend = Math.max(-BEND_MAX, Math.min(BEND_MAX, ahead));
    const rate = Math.abs(ahead) < this.frameLength / 3 ? this.speed : this.speed * (1 - bend);
    if (Math.abs(follow.playbackRate - rate) > 0.002) follow.playbackRate = rate;
  }

  /** @private */
  followOn() {
    if (!this.hasFollower || this.lead.paused) return;
    this.align(true);
    void this.follow.play().catch(() => undefined);
  }

  /** Seconds of a frame. */
  get frameLength() {
    return this.fps[1] / this.fps[0];
  }

  /** The number of the frame that is shown, from 0. */
  get frameNumber() {
    const { currentTime } = this.lead;
    const near = Math.abs(this.shownAt - currentTime) < 2 * this.frameLength;
    const at = near ? this.shownAt + this.frameLength / 4 : currentTime;
    return Math.max(0, Math.floor(at / this.frameLength + 1e-3));
  }

  toggle() {
    if (this.lead.paused) void this.play();
    else this.pause();
  }

  async play() {
    this.playing = true;
    if (this.lead.ended) this.seek(0);
    try {
      await this.lead.play();
    } catch {
      this.playing = !this.lead.paused;
    }
  }

  pause() {
    this.playing = false;
    this.lead.pause();
    this.follow.pause();
    this.align(true);
  }

  /** @param {number} seconds */
  seek(seconds) {
    const { duration } = this.lead;
    const last = Number.isFinite(duration) ? Math.max(0, duration - this.frameLength / 2) : Infinity;
    this.lead.currentTime = Math.min(last, Math.max(0, seconds));
  }

  /** @param {number} frames */
  step(frames) {
    if (!this.lead.paused) this.pause();
    // To its middle, so that rounding never shows the one beside it.
    this.seek((this.frameNumber + frames + 0.5) * this.frameLength);
  }

  /** @param {number} speed */
  setSpeed(speed) {
    this.speed = speed;
    this.lead.playbackRate = speed;
    this.follow.playbackRate = speed;
  }

  /** Shows the source earlier or later against the result. @param {number} frames */
  nudge(frames) {
    this.offset += frames * this.frameLength;
    this.align(true);
  }
}
