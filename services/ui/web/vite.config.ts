import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { defineConfig, type Plugin } from 'vite';

const PAGE = '../weightslab_ui/page';

/** Writes a `.gz` next to every text asset, so that the host compresses nothing at run time. */
function precompress(): Plugin {
  let folder = '';
  return {
    name: 'precompress',
    apply: 'build',
    configResolved(config) {
      folder = join(config.root, config.build.outDir);
    },
    async closeBundle() {
      for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
        if (!entry.isFile() || !/\.(js|css|html|svg)$/.test(entry.name)) continue;
        const path = join(entry.parentPath, entry.name);
        await writeFile(`${path}.gz`, gzipSync(await readFile(path), { level: 9 }));
      }
    },
  };
}

/** Leaves out how messages are written as JSON: the page speaks binary only, and the code is a tenth of its size. */
function binaryOnly(): Plugin {
  const stub = '\0protobuf-json';
  return {
    name: 'binary-only',
    apply: 'build',
    enforce: 'pre',
    resolveId(source, importer) {
      const inner = importer?.includes('@bufbuild/protobuf') && /\/(from|to)-json\.js$/.test(source);
      return inner ? stub : undefined;
    },
    load(id) {
      if (id !== stub) return undefined;
      const names = [
        'fromJson',
        'fromJsonString',
        'mergeFromJson',
        'mergeFromJsonString',
        'enumFromJson',
        'isEnumJson',
        'toJson',
        'toJsonString',
        'enumToJson',
      ];
      const refusal = 'function refuse() { throw new Error("messages are binary here"); }\n';
      return refusal + names.map((name) => `export const ${name} = refuse;`).join('\n');
    },
  };
}

// While developing, the page's host says where the gateway is, as it does for the built page.
// It must see under which name the page was opened, so the host's name stays.
const pageHost = process.env.WL_PAGE_HOST && { target: process.env.WL_PAGE_HOST, changeOrigin: false };

export default defineConfig({
  oxc: { jsx: { runtime: 'automatic', importSource: 'preact' } },
  plugins: [binaryOnly(), precompress()],
  server: pageHost ? { proxy: { '/config.json': pageHost, '/healthz': pageHost } } : {},
  build: {
    outDir: PAGE,
    emptyOutDir: true,
    target: 'es2022',
    // A data: address would need a hole in the content security policy.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: true,
  },
});
