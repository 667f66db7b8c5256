// Compiles TypeScript programs with a compiler that stays warm: a server of the judge (see `servers.py`).
//
// `typescript.mjs PACKAGE`: the folder of the npm package `typescript`, version 7 or later. A request is two frames,
// file name and source. The answer is one frame: byte 0 and the JavaScript file, byte 1 and the compiler's errors, or
// byte 2 for "can't say": plain tsc decides.
//
// The compiler's declarations of the language's library are read once. What costs plain tsc most of its time is to
// check them again for each program; that can only find something where a program adds to one of them, so a program
// with a function, class or interface of such a name is "can't say". A program is checked in a file system that holds
// nothing but it; the compiler then writes its JavaScript without looking at types again.
//
// Not guaranteed: to work with later versions of the package, whose interface is called unstable. It is tried out at
// the start; where it fails this process ends, and every answer is plain tsc's.
import {spawnSync} from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import {pathToFileURL} from 'node:url';

const LONGEST = 1 << 20;
const MOST_ERRORS = 20;
const EMIT = ['--target', 'esnext', '--strict', 'false', '--noCheck', '--noLib'];
const OPTIONS = {target: 'esnext', strict: false, skipLibCheck: true};
const FOLDER = '/program';
const CONFIG = `${FOLDER}/tsconfig.json`;
const NAME = 'program.ts';
const SOURCE = `${FOLDER}/${NAME}`;
// Other files, global names that `adds` does not see, directives to the compiler, and what takes types to emit.
const NOT_HERE = /\/\/\/|@ts-|^#!|^\uFEFF|\b(?:import|export|enum|namespace|module|global)\b/;
const ADDED = /\b(?:function|class|interface)\b[\s*]*([\w$]*)(.?)/gs;
const LIBRARY_NAME = /^(?:declare )?(?:abstract )?(?:function|class|interface|namespace|type|var|let|const) ([\w$]+)/gm;

const folder = process.argv[2];
const {API} = await import(pathToFileURL(path.join(folder, 'dist/api/sync/api.js')).href);
const executable = (await import(pathToFileURL(path.join(folder, 'lib/getExePath.js')).href)).default();
const library = path.dirname(executable);
const libraryNames = new Set();
for (const name of fs.readdirSync(library)) {
  if (!name.endsWith('.d.ts')) continue;
  const declarations = fs.readFileSync(path.join(library, name), 'utf8');
  for (const [, declared] of declarations.matchAll(LIBRARY_NAME)) libraryNames.add(declared);
}

let source = '';
const isLibrary = (name) => path.dirname(name) === library && name.endsWith('.d.ts');
const api = new API({
  cwd: FOLDER,
  fs: {
    // undefined: the compiler reads the file itself
    readFile(name) {
      if (name === SOURCE) return source;
      if (name === CONFIG) return JSON.stringify({compilerOptions: OPTIONS, files: [NAME]});
      return isLibrary(name) ? undefined : null;
    },
    fileExists: (name) => name === SOURCE || name === CONFIG || (isLibrary(name) ? undefined : false),
    directoryExists: (name) => name === FOLDER || name === '/' || name === library,
    getAccessibleEntries: (name) => ({files: name === FOLDER ? [NAME] : [], directories: []}),
    realpath: (name) => name,
  },
});

// Whether the program may add to a declaration of the library.
function adds(text) {
  for (const [, name, next] of text.matchAll(ADDED)) {
    if (libraryNames.has(name) || (name === '' && !['(', '<', '{'].includes(next))) return true;
  }
  return false;
}

function errorsOf(text) {
  source = text;
  const snapshot = api.updateSnapshot({openProjects: [CONFIG], fileChanges: {changed: [SOURCE]}});
  try {
    const {program} = snapshot.getProject(CONFIG);
    const found = [
      ...program.getConfigFileParsingDiagnostics(),
      ...program.getProgramDiagnostics(),
      ...program.getSyntacticDiagnostics(SOURCE),
    ];
    if (found.length === 0) found.push(...program.getGlobalDiagnostics(), ...program.getSemanticDiagnostics(SOURCE));
    return found.filter((error) => error.category === 1);
  } finally {
    snapshot.dispose();
    source = '';
  }
}

function described(text, error) {
  const lines = text.slice(0, error.pos).split(/\r\n|\n|\r/);
  return `${NAME}(${lines.length},${lines.at(-1).length + 1}): error TS${error.code}: ${error.text}`;
}

function emitted(text) {
  const place = fs.mkdtempSync(path.join(os.tmpdir(), 'emit-'));
  try {
    fs.writeFileSync(path.join(place, NAME), text);
    spawnSync(executable, [...EMIT, NAME], {cwd: place, stdio: 'ignore', env: {...process.env, GOMAXPROCS: '1'}});
    return fs.readFileSync(path.join(place, 'program.js'));
  } finally {
    fs.rmSync(place, {recursive: true, force: true});
  }
}

function frame(content) {
  const header = Buffer.alloc(4);
  header.writeUInt32LE(content.length);
  return Buffer.concat([header, content]);
}

function compiled(text) {
  if (text.length > LONGEST || NOT_HERE.test(text)) return Buffer.from([2]);
  const errors = errorsOf(text);
  if (errors.length) {
    return Buffer.from(`\x01${errors.slice(0, MOST_ERRORS).map((error) => described(text, error)).join('\n')}`);
  }
  if (adds(text)) return Buffer.from([2]);
  return Buffer.concat([Buffer.from([0]), frame(Buffer.from('program.js')), frame(emitted(text))]);
}

function read(size) {
  const bytes = Buffer.allocUnsafe(size);
  for (let done = 0; done < size; ) {
    const count = fs.readSync(0, bytes, done, size - done);
    if (count === 0) process.exit(0);
    done += count;
  }
  return bytes;
}

function answer(content) {
  const bytes = frame(content);
  for (let done = 0; done < bytes.length; ) done += fs.writeSync(1, bytes, done);
}

const works = errorsOf('const a: number = [1][0];').length === 0 && errorsOf("const a: number = '';").length === 1;
if (!works) process.exit(1);
for (;;) {
  read(read(4).readUInt32LE(0));
  answer(compiled(read(read(4).readUInt32LE(0)).toString('utf8')));
}
