import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { defineConfig, type Plugin } from 'vite';
import { hydrate, plainDescriptor } from './plainDescriptors.ts';

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

/** How the library reads a generated file, without the descriptors of descriptors. */
const RUNTIME = `
import { createEmbeddedFileRegistry } from '../registry.js';
import { restoreJsonNames } from './restore-json-names.js';
${hydrate.toString()}
export function fileDesc(plain, imports = []) {
  const root = hydrate(plain);
  root.$typeName = 'google.protobuf.FileDescriptorProto';
  root.messageType.forEach(restoreJsonNames);
  root.dependency = imports.map((file) => file.proto.name);
  return createEmbeddedFileRegistry(root, (name) => imports.find((file) => file.proto.name === name)).getFile(root.name);
}
`;

/**
 * Puts the descriptors of messages, ours and those that the library needs, into the page as plain data. As base64 of
 * their wire format they need the description of descriptors and its reader, and hardly compress: 8 kB more of gzipped
 * script.
 */
function plainDescriptors(): Plugin {
  return {
    name: 'plain-descriptors',
    apply: 'build',
    enforce: 'pre',
    load(id) {
      return /@bufbuild\/protobuf\/.*\/codegenv2\/file\.js$/.test(id) ? RUNTIME : undefined;
    },
    transform(code, id) {
      if (!/_pb\.(ts|js)$/.test(id) || !code.includes('fileDesc(')) return undefined;
      const found = /fileDesc\(\s*"([A-Za-z0-9+/=]+)"/.exec(code);
      if (!found?.[1]) throw new Error(`${id} holds no descriptor in base64`);
      const plain = JSON.stringify(plainDescriptor(found[1]));
      return { code: code.replace(found[0], () => `fileDesc(${plain}`), map: null };
    },
  };
}

// While developing, the page's host says where the gateway is, as it does for the built page.
// It must see under which name the page was opened, so the host's name stays.
const pageHost = process.env.WL_PAGE_HOST && { target: process.env.WL_PAGE_HOST, changeOrigin: false };

export default defineConfig({
  oxc: { jsx: { runtime: 'automatic', importSource: 'preact' } },
  plugins: [binaryOnly(), plainDescriptors(), precompress()],
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
