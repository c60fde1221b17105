/** Whether a process of this machine runs; one of another user, who may not be asked, does. */
export function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0); // asks, does not kill
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ESRCH';
  }
}
