import { openBrowser } from '../../src/server/index.ts';
import { SOFTWARE_GPU } from './chromium.ts';
import { servePages } from './page-server.ts';

/** A page that says nothing for so long has died. */
const SILENCE_MS = 120_000;

/** What every page tells of itself, beside what it is there for. */
export type PageReport =
  | { readonly kind: 'opened'; readonly description: string }
  | { readonly kind: 'failed'; readonly message: string }
  | { readonly kind: 'done'; readonly left: number };

/** Opens the page of a module of this checkout and gives what it reports, to its end. */
export async function reportsOf<R extends { readonly kind: string }>(
  chromium: string,
  module: string,
  query: Readonly<Record<string, string>>,
  options: { isolated?: boolean } = {},
): Promise<readonly (R | PageReport)[]> {
  const reports: (R | PageReport)[] = [];
  let heard: () => void = () => {};
  const server = await servePages((report) => {
    reports.push(report as R);
    heard();
  }, options);
  const browser = openBrowser(chromium, server.pageOf(module, query), SOFTWARE_GPU);
  try {
    while (!['done', 'failed'].includes(reports.at(-1)?.kind ?? '')) {
      let timer: NodeJS.Timeout | undefined;
      const silence = new Promise<never>((_, reject) => {
        const said = JSON.stringify(reports.at(-1));
        timer = setTimeout(
          () => reject(new Error(`the page fell silent after ${said}`)),
          SILENCE_MS,
        );
      });
      const next = new Promise<void>((resolve) => {
        heard = resolve;
      });
      await Promise.race([next, silence, browser.ended]).finally(() => clearTimeout(timer));
    }
  } finally {
    await browser.close();
    await server.close();
  }
  return reports;
}
