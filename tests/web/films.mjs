// Ten small films that differ from each other, and one of them large enough to
// be on its way for a while.

import { execFile } from "node:child_process";
import { mkdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);
const SECONDS = 3;

async function film(path, picture, more) {
  const sound = `sine=f=440:d=${SECONDS}`;
  const codecs = ["-c:v", "libx264", "-preset", "ultrafast", "-g", "25", "-c:a", "aac", "-shortest"];
  const inputs = ["-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", sound];
  await run("ffmpeg", ["-nostdin", "-v", "error", "-y", ...inputs, ...codecs, ...more, path]);
  return { path, bytes: (await stat(path)).size };
}

/** The films' paths; the first is the large one. */
export async function makeFilms(folder) {
  await mkdir(folder, { recursive: true });
  const films = [];
  const noise = `testsrc2=s=640x360:r=25:d=${SECONDS},noise=alls=60:allf=t`;
  films.push(await film(join(folder, "film 00 large.mp4"), noise, ["-crf", "12"]));
  for (let number = 1; number < 10; number++) {
    const picture = `testsrc2=s=${320 + 16 * number}x180:r=25:d=${SECONDS}`;
    films.push(await film(join(folder, `film ${String(number).padStart(2, "0")}.mp4`), picture, []));
  }
  return films;
}
