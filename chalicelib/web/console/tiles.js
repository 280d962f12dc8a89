/** What the engine does now, in four numbers. One that is not known is a dash. */

import { byId, write } from "./dom.js";
import { whileVisible } from "./polling.js";

const SECONDS = 5;
const UNKNOWN = "–";

/** @param {import("./api.js").Api} api */
export function startTiles(api) {
  return whileVisible(SECONDS, async () => {
    try {
      show(await api.get("api/statistics"));
    } catch {
      show({});
    }
  });
}

function show({ acceptedPerMinute, processedPerMinute, successRate, queueDepth, slotsInUse, slots }) {
  write(byId("tile-accepted"), acceptedPerMinute ?? UNKNOWN);
  write(byId("tile-processed"), `processed: ${processedPerMinute ?? UNKNOWN}`);
  write(byId("tile-success"), successRate == null ? UNKNOWN : `${percent(Number(successRate))} %`);
  write(byId("tile-queue"), queueDepth ?? UNKNOWN);
  write(byId("tile-slots"), slotsInUse == null ? UNKNOWN : `${slotsInUse} of ${slots}`);
  const meter = /** @type {HTMLMeterElement} */ (byId("tile-slots-meter"));
  meter.max = Number(slots ?? 1);
  meter.value = Number(slotsInUse ?? 0);
}

/** Rounded down: 100 % is said only where nothing failed. */
function percent(rate) {
  const tenths = Math.floor(rate * 1000 + 1e-9) / 10;
  return Number.isInteger(tenths) ? String(tenths) : tenths.toFixed(1);
}
