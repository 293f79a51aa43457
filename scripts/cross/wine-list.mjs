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
  'it opens a terminal: npm has installed the binary for Linux, and Wine has no ConPTY for the one for Windows'

const HOSTS = 'the name localhost cannot be resolved: this Wine has no hosts file'

const START = 'the real ring-client-api takes longer to start there, in a process of its own, than the test waits'

/** JavaScript tests, by their file in `__test__` and their names. @type {Record<string, Record<string, string>>} */
export const JAVASCRIPT = {
  'bench.test.mjs': { 'run to their end, and leave a table, a chart and nothing else': TERMINAL },
  'doctor.test.mjs': { 'with a certificate that is not valid at this time': HOSTS },
  'real/rest-client.test.mjs': { 'shows programs that run as they stand there': START },
}

const NPM = 'each of its tests calls npm several times, which takes a minute each time: two of them did not end in time'
const NPM_PACK = 'npm packs eleven packages for it, and checks them with tools of npm: it was not seen to end'
const BUSY = 'it makes rotations with a mirror side by side, and while Wine writes them, requests time out'

/** Files of the JavaScript suite that are not run, by their path in `__test__`. @type {Record<string, string>} */
export const LEFT_OUT = {
  'packages/install.test.mjs': NPM,
  'packages/tarballs.test.mjs': NPM_PACK,
  'real/mirror-corpus.test.mjs': BUSY,
}
