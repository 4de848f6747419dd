// A thread of the process that takes files apart. While the main thread is inside a file it runs no callbacks, so it is
// this one that ends the process: when it has taken too much memory, wherever that stands, and when its parent has died.

/** Resident bytes. Beyond the largest PDF, its text and what is decoded of it at a time. */
const residentMaxBytes = 1024 * 1024 * 1024;
const periodMs = 50;

const parent = process.ppid;
setInterval(() => {
  const isOrphan = process.ppid !== parent;
  if (isOrphan || process.memoryUsage.rss() > residentMaxBytes) process.kill(process.pid, 'SIGKILL');
}, periodMs);
