// @ts-check
// Which tests fail in `npm run test:wine`, each with its reason, which is Wine's, never ours; which JavaScript files it leaves out, each with
// what keeps it from being run there; and of which it runs no test. __test__/wine-list.test.mjs holds that each entry names something that
// exists, and how many there are.

const RENAME =
  'Wine refuses a rename over a file that is open: in Node, fs.openSync(a) and then fs.renameSync(b, a) is EPERM there, ' +
  'where Windows 10 has a rename for it, which Rust calls'
const INHERIT =
  'a folder gives its access list to nothing that is made in it: Wine keeps a list as the mode of the file alone. A C program of twenty lines ' +
  'makes a folder with D:P(A;OICI;FA;;;SY)(A;OICI;FA;;;user) and a file in it, and reads from the file that everyone (WD) may read it'

/** Tests of the Rust library, by their names. @type {Record<string, string>} */
export const RUST = {
  'journal::file::tests::a_folder_of_its_own_in_one_of_everybody_gives_its_list_to_what_is_made_in_it': INHERIT,
  'mirror::file::tests::a_file_that_was_not_there_has_one_name_and_its_editors_are_not_taken_for_two': RENAME,
  while_another_process_looks_the_journal_is_never_missing_and_always_whole: RENAME,
}

const TERMINAL =
  'a program of ten lines that opens a terminal with node-pty for Windows, and writes a word in it, is told the exit code and never the word: ' +
  'the terminals (ConPTY) of this Wine pass no output on'

/** JavaScript tests, by their file in `__test__` and their names. @type {Record<string, Record<string, string>>} */
export const JAVASCRIPT = {
  'bench.test.mjs': { 'the benchmarks run to their end, and leave a table, a chart and nothing else': TERMINAL },
}

const NPM =
  'its tests call npm about a hundred times, and npm loads 1,500 files before it does anything: 500 files of one line are loaded in 10 s there, ' +
  'in 0.1 s on Linux, as each call for a file takes milliseconds; `npm pack` of a package of one file takes 20 s'

/** Files of the JavaScript suite that are not run, by their path in `__test__`. @type {Record<string, string>} */
export const LEFT_OUT = {
  'packages/install.test.mjs': NPM,
}

const CHROMIUM = 'it needs a Chromium, and there is none for Windows in what Wine shows'
const SERVERS = 'its servers are programs for Linux, and Wine starts none of those'
const LINUX = 'it holds on Linux alone, or on Unix alone, and says in its `skip` what takes its place on Windows itself'

/**
 * Files of which each test is skipped there, by their path in `__test__`. Of all others at least one test runs.
 * @type {Record<string, string>}
 */
export const ALL_SKIPPED = {
  'browser/login-page.test.mjs': CHROMIUM,
  'bundlers/bundle.test.mjs': LINUX,
  'cli-signals.test.mjs': LINUX,
  'dead-mount.test.mjs': LINUX,
  'homebridge-ui/login-page.test.mjs': CHROMIUM,
  'real/cli.test.mjs': 'it links folders, and in Wine a symbolic link is no link',
  'real/homebridge.test.mjs': LINUX,
  'stores/examples.test.mjs': SERVERS,
  'stores/hosts.test.mjs': SERVERS,
  'stores/postgres.test.mjs': SERVERS,
  'stores/redis.test.mjs': SERVERS,
  'unattended-docs.test.mjs': LINUX,
}
