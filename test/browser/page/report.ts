/** Tells the test that opened this page something; resolves when it has heard. */
export async function report(what: object): Promise<void> {
  await fetch('/report', { method: 'POST', body: JSON.stringify(what) });
}

addEventListener('error', (event) => report({ kind: 'failed', message: event.message }));
addEventListener('unhandledrejection', ({ reason }) =>
  report({ kind: 'failed', message: String(reason?.stack ?? reason) }),
);
