/** Look again and again, but only while somebody sees the page. */

/**
 * Call `task` now and then `seconds` after it has ended, for as long as the page is visible.
 *
 * @param {number} seconds
 * @param {() => Promise<void>} task handles its own errors
 * @returns {{ now: () => void, stop: () => void }}
 */
export function whileVisible(seconds, task) {
  let timer = 0;
  let running = false;
  let again = false;
  let stopped = false;

  async function run() {
    clearTimeout(timer);
    if (stopped || document.hidden) return;
    if (running) {
      again = true;
      return;
    }
    running = true;
    try {
      await task();
    } finally {
      running = false;
      if (again) {
        again = false;
        run();
      } else {
        timer = setTimeout(run, seconds * 1000);
      }
    }
  }

  document.addEventListener("visibilitychange", run);
  run();
  return {
    now: run,
    stop() {
      stopped = true;
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", run);
    },
  };
}
