// npm run openapi: writes openapi.yaml from the schemas of the routes.

import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describeApi } from './openapi-document.ts';

const path = fileURLToPath(new URL('../../openapi.yaml', import.meta.url));
writeFileSync(path, await describeApi());
console.log(`wrote ${path}`);
