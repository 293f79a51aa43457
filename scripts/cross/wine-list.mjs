// @ts-check
// Which tests fail in `npm run test:wine`, each with its reason, which is Wine's, never ours; and which JavaScript files it leaves out, each
// with what keeps it from being run there. __test__/wine-list.test.mjs holds that each entry names something that exists, and how many there
// are.

const RENAME = 'Wine refuses a rename over a file that another program has open (EPERM); Windows takes it'
const INHERIT =
  'a folder gives its access list to nothing that is made in it: Wine keeps a list as the mode of the file alone'

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
