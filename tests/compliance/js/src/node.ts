/** Runs the suite in Node.js: `node node.cjs '<where as JSON>'`, the report on standard output. */
import xhr2 from 'xhr2';
import { run } from './suite';

// Google's library knows browsers only.
Object.assign(globalThis, { XMLHttpRequest: xhr2.XMLHttpRequest ?? xhr2 });

run(JSON.parse(process.argv[2] ?? '')).then((report) => {
  process.stdout.write(JSON.stringify(report));
  process.exit(0);
});
