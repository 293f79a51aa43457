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

/** JavaScript tests, by their file in `__test__` and their names. @type {Record<string, Record<string, string>>} */
export const JAVASCRIPT = {}

const COMMANDS =
  'its tests start the command line again and again, which takes seconds each time under Wine: minutes for each such file'
const MIRRORS =
  'it takes mirrors through rotations, which take seconds each under Wine: none of its tests ended within three minutes'
const PROCESSES =
  'it starts a process for each of its many cases, which takes seconds each time under Wine, and was not run there'
const LONG = 'it takes the real ring-client-api through many requests and processes: too long, and not run there'
const LINKS = 'its programs find the packages by symbolic links, which do nothing under Wine'
const TOOLS = 'it starts npm, git, a shell or bundlers, which are not there in the drive of Wine or installed for Linux'
const BROWSER = 'it starts a browser, and there is none for Windows in the drive of Wine'
const HOMEBRIDGE = 'it starts a real Homebridge or its UI, which takes long, and was not run under Wine'
const MEASURES = 'it measures times or threads of a system, and those of Wine are not those of Windows'

/** Files of the JavaScript suite that are not run, by their path in `__test__`. @type {Record<string, string>} */
export const LEFT_OUT = {
  'bench.test.mjs': MEASURES,
  'browser/login-page.test.mjs': BROWSER,
  'budgets.test.mjs': MEASURES,
  'bundlers/bundle.test.mjs': TOOLS,
  'cli-input.test.mjs': COMMANDS,
  'cli-mirrors.test.mjs': COMMANDS,
  'cli-output.test.mjs': COMMANDS,
  'cli-signals.test.mjs': 'it is about signals at a terminal of Unix, and nothing of it holds on Windows',
  'cli.test.mjs': COMMANDS,
  'copies.test.mjs': COMMANDS,
  'custom-store-storm.test.mjs': PROCESSES,
  'dead-mount.test.mjs': 'it makes a FIFO, which Windows does not have as a file',
  'docs.test.mjs': LINKS,
  'doctor.test.mjs': COMMANDS,
  'examples.test.mjs': LINKS,
  'fake-ring/fake-ring.test.mjs': 'it did not end within three minutes; the 39 tests that did until then passed',
  'homebridge-ui/login-page.test.mjs': HOMEBRIDGE,
  'login-web.test.mjs': COMMANDS,
  'logout.test.mjs': COMMANDS,
  'mirror-editors.test.mjs': MIRRORS,
  'mirrors.test.mjs': `${RENAME}. Which tests meet that depends on the moment`,
  'not-ours.test.mjs': COMMANDS,
  'packages/install.test.mjs': TOOLS,
  'packages/readme.test.mjs': TOOLS,
  'packages/release.test.mjs': TOOLS,
  'packages/tarballs.test.mjs': TOOLS,
  'pasted.test.mjs': COMMANDS,
  'paths.test.mjs': COMMANDS,
  'process.test.mjs':
    'two tests count on processes that start quickly: under Wine one got TIMEOUT for NETWORK, and one saw fewer rotations',
  'proxy.test.mjs': PROCESSES,
  'real/attach-in-flight.test.mjs': LONG,
  'real/cli.test.mjs': LONG,
  'real/hardware-id.test.mjs': LONG,
  'real/homebridge.test.mjs': HOMEBRIDGE,
  'real/mirror-corpus.test.mjs': MIRRORS,
  'real/rest-client.test.mjs': `${LINKS}. All that needs none passed`,
  'real/ring-api.test.mjs': LONG,
  'reference.test.mjs': LINKS,
  'systems.test.mjs':
    'it walks through the folders of all packages, and this Wine, without a locale, does not find names that are not ASCII',
  'unattended-docs.test.mjs': COMMANDS,
  'unattended.test.mjs': COMMANDS,
  'wait-for-login.test.mjs': PROCESSES,
  'watch.test.mjs': COMMANDS,
  'which-journal.test.mjs': COMMANDS,
}
