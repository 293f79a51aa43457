/**
 * Gets a Ring refresh token, keeps it valid through every rotation, and never loses it.
 *
 * Every promise here rejects with a {@link RingAuthError}, and every function that throws, throws one.
 */

declare global {
  // Both exist at run time in every supported version. These lines declare their names for projects whose `lib` does not have
  // them. For other projects they change nothing.
  interface SymbolConstructor {
    readonly asyncDispose: unique symbol
    /** As RxJS declares it. */
    readonly observable: symbol
  }
  interface AbortSignal {}
}

/**
 * Keeps the refresh token of one account. It rotates the token when an access token is needed, stores each new token durably
 * before a caller can use the access token that came with it, and reports when a person has to log in.
 *
 * One manager per account is enough for a process. Several managers, in one process or in many, can use the same `file`
 * store: they take turns, and each uses the token that another one has stored.
 *
 * Calls have their effect in the order in which they are made, also if your program does not wait between them: the token that is set last
 * and the login that is started last count, `close` waits for both, and a refresh uses the token that was set before it. A login has its
 * effect when Ring accepts it.
 *
 * An idle manager does not keep the process alive. A rotation under way does, until it is stored.
 *
 * @example
 * const manager = new RingTokenManager({ store: { type: 'file', path: './ring-auth.json' } })
 * const accessToken = await manager.getAccessToken()
 */
export class RingTokenManager {
  /**
   * Reads the store. Makes no request, unless an earlier process was stopped in the middle of a refresh.
   *
   * If the store cannot be read, the constructor does not throw: `status` and the logger report it, and every call rejects with
   * `STORE` until the store can be read.
   *
   * @throws {RingAuthError} `INVALID_ARGUMENT` if an option is unknown or invalid, or if the store belongs to another
   * `oauthUrl`.
   */
  constructor(options?: RingTokenManagerOptions)

  /**
   * Logs in with e-mail address and password. Resolves with `authenticated: false` if Ring wants a code: pass that to
   * {@link submitTwoFactorCode}.
   *
   * Each call can make Ring send a code, and Ring allows few of them. To get another code, call
   * {@link resendTwoFactorCode} instead. A call with the same credentials joins an earlier one that has not been answered yet.
   *
   * With `totpSecret`, the manager computes the code of the authenticator app itself.
   *
   * @throws {RingAuthError} `TWO_FACTOR_INVALID`: Ring refused two codes computed from `totpSecret`. The login waits for another code.
   * @throws {RingAuthError} `INVALID_CREDENTIALS`: wrong e-mail address or password.
   * @throws {RingAuthError} `TWO_FACTOR_RATE_LIMITED`: too many codes were requested.
   * @throws {RingAuthError} `BLOCKED`, `RATE_LIMITED`, `SERVER_ERROR`, `NETWORK`, `TIMEOUT`, `PROTOCOL`, `STORE`,
   * `STORE_LOCKED`, `CLOSED`, `INVALID_ARGUMENT`.
   */
  login(credentials: LoginCredentials): Promise<LoginStep>

  /**
   * Submits the code that {@link login} asked for. The code is a string, because it may begin with 0.
   *
   * @throws {RingAuthError} `TWO_FACTOR_INVALID`: the code is wrong or too old. Call this method again with another code.
   * @throws {RingAuthError} `INVALID_ARGUMENT`: no login waits for a code. Otherwise as {@link login}.
   */
  submitTwoFactorCode(code: string): Promise<LoginStep>

  /**
   * Asks Ring for another code within the current login.
   *
   * @throws {RingAuthError} `TWO_FACTOR_RATE_LIMITED`: too many codes were requested; `retryAfterMs` is the time to wait.
   * @throws {RingAuthError} `INVALID_ARGUMENT`: no login waits for a code. Otherwise as {@link login}.
   */
  resendTwoFactorCode(): Promise<LoginStep>

  /**
   * Resolves with an access token that is valid now. Makes a request only if there is none: call it before each use, and do
   * not keep the result.
   *
   * In the last tenth of the token's lifetime (at most ten minutes), the call resolves with the current token at once, and a
   * refresh starts in the background.
   *
   * @throws {RingAuthError} `NO_REFRESH_TOKEN`, `REFRESH_TOKEN_REJECTED`: a person has to log in.
   * @throws {RingAuthError} `TWO_FACTOR_REQUIRED`: a login waits for its code, and there is no other token.
   * @throws {RingAuthError} `ABORTED`: `signal` was aborted; `cause` is its reason. The refresh continues for other callers.
   * @throws {RingAuthError} Any other code: see {@link ErrorCode}. During a cool-down, the call makes no request and rejects
   * with the last failure and `retryAfterMs`.
   */
  getAccessToken(options?: CallOptions): Promise<string>

  /**
   * As {@link getAccessToken}, with everything that is known about the token. The result is plain data and holds secrets: do not log it.
   */
  getAuth(options?: CallOptions): Promise<Auth>

  /**
   * Rotates the token now, even if the access token has not expired. Rarely needed: {@link getAccessToken} rotates in time.
   *
   * @throws {RingAuthError} As {@link getAccessToken}.
   */
  refresh(options?: RefreshOptions): Promise<Auth>

  /**
   * Reports that an API answered 401 to this access token. The next {@link getAccessToken} refreshes, once, however many
   * callers report the same token. A token that is not the current one is ignored.
   *
   * The number of such rotations is limited to five, and one more every five minutes. Beyond that, calls resolve with the current
   * token, so that an API that answers 401 to every request does not cause a rotation each time.
   *
   * @throws {RingAuthError} `INVALID_ARGUMENT`, `CLOSED`.
   */
  invalidateAccessToken(accessToken: string): void

  /**
   * Uses another refresh token from now on, for example after the user has linked the account again. Resolves when the token is
   * stored. Makes no request.
   *
   * @param refreshToken Wrapped or raw; the token itself may have up to 64 KiB. Quotation marks and similar text around it are removed.
   * @throws {RingAuthError} `INVALID_ARGUMENT`: the text cannot be a refresh token. `STORE`, `STORE_LOCKED`, `CLOSED`.
   */
  setRefreshToken(refreshToken: string): Promise<void>

  /**
   * Keeps push-notification credentials inside the wrapped refresh token, as ring-client-api does; `null` removes them.
   * This changes the wrapped token without a rotation at Ring. The manager stores and announces it like a rotation.
   *
   * @param pnc An object that can be written as JSON.
   * @throws {RingAuthError} `INVALID_ARGUMENT`: not an object, or not possible in JSON. `NO_REFRESH_TOKEN`, `STORE`,
   * `STORE_LOCKED`, `CLOSED`.
   */
  setPushCredentials(pnc: object | null): Promise<void>

  /**
   * Waits until there is a refresh token that Ring has not rejected: until a person has logged in with this manager, with
   * another manager on the same store, or with the command line. While a login is needed, the manager reads its journal, or its shared
   * store, every 15 seconds. A waiting call keeps the process alive.
   *
   * @throws {RingAuthError} `CLOSED`, `ABORTED`.
   *
   * @example
   * if (manager.status.state === 'needs-login') await manager.waitForLogin()
   */
  waitForLogin(options?: CallOptions): Promise<void>

  /** The newest refresh token, wrapped as in ring-client-api; `null` if there is none. A secret. */
  readonly refreshToken: string | null

  /** The hardware id, a UUID by which Ring knows this installation; `null` if there is none yet. */
  readonly hardwareId: string | null

  /** The state of the manager, and the last problem if there is one. Holds no secret. */
  readonly status: Status

  /** Counters of what this manager has done since its construction. Plain data without a secret. */
  readonly stats: Stats

  /**
   * Emits each new refresh token after it was stored. A late subscriber gets the last one at once.
   *
   * With the `memory` store, save the token here. With all other stores you need not save anything.
   *
   * @example
   * manager.onRefreshTokenUpdated.subscribe(({ newRefreshToken }) => save(newRefreshToken))
   */
  readonly onRefreshTokenUpdated: Observable<RefreshTokenUpdate>

  /** Emits each change of {@link status}. It does not replay the current status: read {@link status} instead. */
  readonly onStatus: Observable<Status>

  /**
   * Waits until a rotation under way is stored, and closes the manager. Later calls return the same promise. After that, every
   * other call rejects with `CLOSED`; `refreshToken`, `hardwareId` and `status` can still be read.
   */
  close(): Promise<void>

  /** {@link close}, for `await using`. */
  [Symbol.asyncDispose](): Promise<void>
}

/** Options of {@link RingTokenManager}. An unknown option is `INVALID_ARGUMENT`. */
export interface RingTokenManagerOptions {
  /**
   * The token to start with: wrapped, as ring-client-api and the command line print it, or raw. The token itself may have up to
   * 64 KiB. Quotation marks and similar text around it are removed. A text that cannot be a token is `INVALID_ARGUMENT`; if the store
   * holds a token, the text is ignored with a warning. Not needed if the store holds a token. If the store knows this token as an old
   * one, the manager uses the store's own.
   */
  refreshToken?: string | undefined

  /** Where the token is kept. Default: `{ type: 'memory' }`. */
  store?: Store | undefined

  /**
   * The text from which the hardware id is derived if neither the token nor the store has one, as in ring-client-api.
   * Default: the operating system's id of this machine.
   */
  systemId?: string | undefined

  /** The name of this device in the Control Center of Ring's app. Default: `ring-auth`. */
  controlCenterDisplayName?: string | undefined

  /** How {@link RingTokenManager.login} logs in. Default: `'auto'`. */
  loginFlow?: LoginFlow | undefined

  /** The `User-Agent` header. Ring refuses values that do not look like its app. Default: `android:com.ringapp:3.113.0(70497080)`. */
  userAgent?: string | undefined

  /** Ring's authentication server. Plain http is allowed only to this machine. Default: `https://oauth.ring.com`. */
  oauthUrl?: string | undefined

  /** Ring's API server. Plain http is allowed only to this machine. Default: `https://api.ring.com`. */
  apiUrl?: string | undefined

  /** The time limit of one request, in milliseconds: 1 to 2147483647. Default: 20000. */
  requestTimeoutMs?: number | undefined

  /**
   * `false`: refresh only when a caller needs a token. `true`: also refresh before the token expires, and try again after a failure,
   * until {@link RingTokenManager.close}. This does not keep the process alive. Default: `false`.
   */
  autoRefresh?: boolean | undefined

  /**
   * Receives each message of the manager: a function, or an object with log methods such as `console`, pino or Homebridge's `log`.
   * No message holds a secret. An error that the logger throws is ignored. Default: none.
   */
  logger?: Logger | undefined
}

/**
 * Where the refresh token is kept.
 *
 * - `memory`: only in this process. `persisted` in the status is `false`. You have to save each token yourself.
 * - `file`: in a journal, a file that only this package writes.
 * - `homebridge`, `dotenv`: in a journal, and the newest token is always shown in `config.json` or `.env` as well.
 * - an object with `load` and `save`: in your own code, with a journal or without one.
 * - an object with `load` and `commit`: in a store that several hosts share.
 *
 * Relative paths are relative to the working directory at construction. A journal and its directory entry are synced to disk
 * before a new token is used. Several processes may share one.
 */
export type Store = MemoryStore | FileStore | HomebridgeStore | DotenvStore | CustomStore | SharedStore

/** See {@link Store}. */
export interface MemoryStore {
  type: 'memory'
}

/**
 * The key with which the journal is sealed, and every file beside it that can hold a token: 32 bytes, as a `Uint8Array`, as base64 or
 * as 64 hexadecimal digits; or a function that returns it. The function is called once, at the first call that needs the
 * key, and again only after a failure; it gets ten seconds. Without the key a sealed journal is `STORE`, and stays as it is.
 */
export type StoreKey = Uint8Array | string | (() => Uint8Array | string | Promise<Uint8Array | string>)

/** See {@link Store}. */
export interface FileStore {
  type: 'file'
  /** The journal. Must not be empty. */
  path: string
  /** Seals the journal. Default: it is plain text. */
  key?: StoreKey | undefined
}

/**
 * The `refreshToken` of a block in Homebridge's `config.json`. No other byte of that file is changed. A token that a person
 * pastes there is used from the next refresh or start on. An old token that comes back is replaced by the newest one.
 */
export interface HomebridgeStore {
  type: 'homebridge'
  /** The path of the file; in a plugin `api.user.configPath()`. */
  configPath: string
  /** The `platform` of the block. Default: `Ring`. */
  platform?: string | undefined
  /** The `name` of the block. Needed if there are several blocks of that platform. */
  name?: string | undefined
  /** The folder of the journal. Default: `.ring-auth` beside the file, where the command line finds it too. */
  statePath?: string | undefined
  /**
   * `true`: a login adds the block if there is none, and removes `email` and `password` from it, as
   * `ring-auth login --homebridge` does. Whether the file can be written is checked before Ring is asked for a code.
   * Default: `false`.
   */
  addBlock?: boolean | undefined
  /** Seals the journal; `config.json` still shows the token. Default: it is plain text. */
  key?: StoreKey | undefined
}

/** The value of a key in a `.env` file. If there is no file, it is created, readable by its owner only. */
export interface DotenvStore {
  type: 'dotenv'
  /** The file. Must not be empty. */
  path: string
  /**
   * A text that is no key: the name of the variable. Default: `RING_REFRESH_TOKEN`. Anything else, and any text beside `envKey`: the
   * key with which the journal is sealed; the file still shows the token.
   */
  key?: StoreKey | undefined
  /** The name of the variable, if `key` is to seal the journal. */
  envKey?: string | undefined
  /** The folder of the journal. Default: `.ring-auth` beside the file, where the command line finds it too. */
  statePath?: string | undefined
}

/**
 * Your own code. The manager calls `load` and `save` one at a time and waits up to ten seconds for each; after that the call counts
 * as failed. The manager reports a failure and tries again. A call of the manager from inside `load` or `save` is `INVALID_ARGUMENT`.
 */
export interface CustomStore {
  type?: undefined
  /** Returns the stored token, if there is one. Called at the start and before each refresh. */
  load(): string | null | undefined | Promise<string | null | undefined>
  commit?: undefined
  /** Stores a token. `oldRefreshToken` is the token that was stored before. */
  save(newRefreshToken: string, oldRefreshToken?: string): void | Promise<void>
  /**
   * The folder of a journal. With a journal, a failing `save` loses nothing, and several processes take turns. Without one, only
   * `save` makes a token durable, and nothing protects against another process with the same token.
   */
  statePath?: string | undefined
  /** Seals that journal. Needs `statePath`. */
  key?: StoreKey | undefined
}

/**
 * A store that several hosts share, on an engine with a compare-and-set operation. Each value has a version. A commit names the version
 * that it replaces, and of several commits on one version only one wins. The manager waits ten seconds for each call of `load` and
 * `commit`; after that the call counts as failed. A call of the manager from inside them is `INVALID_ARGUMENT`.
 *
 * `ring-auth/stores` has such stores for PostgreSQL and Redis. If you write one for another engine, test it with `checkStore` of
 * `ring-auth/stores/check`.
 */
export interface SharedStore {
  type?: undefined
  save?: undefined
  /**
   * Resolves to the value and its version, or to `null` if there is none. Reads from the server that accepts writes, not from a replica or
   * a cache.
   */
  load(): Promise<{ value: string; version: string } | null>
  /**
   * Replaces the value if its version is still `version`; `null` means that there must be no value yet. Resolves when the value is
   * durable: to the new version, which was never used before. Resolves to `null` if another commit was faster. Rejects if the outcome is
   * not known.
   */
  commit(value: string, version: string | null): Promise<string | null>
  /** The name of the store in messages. */
  name?: string | undefined
  /** The folder of this host's spool, on a disk that only this host uses. `null` if this host has no disk. */
  statePath: string | null
  /** Tells the spools of several accounts in one `statePath` apart. At most 512 bytes. Default: `default`. */
  account?: string | undefined
  /** The key that seals the record and the spool. All hosts need the same key. Default: both are plain text. */
  key?: StoreKey | undefined
  /** A file of this host that always shows the newest token, such as Homebridge's `config.json`. Default: none. */
  mirror?: SharedStoreMirror | undefined
  /** Resolves to sentences about settings of the engine that an administrator should know. The manager calls this once, and logs them. */
  warnings?(): Promise<string[]>
}

/** A file that shows the token beside a shared store. It works as with the store of its type, but without a journal of its own. */
export type SharedStoreMirror = Omit<HomebridgeStore, 'statePath' | 'key'> | Omit<DotenvStore, 'statePath' | 'key'>

/**
 * - `auto`: one of the others; if that one is not available, the other one. Never both after a code was sent.
 * - `pkce`: the flow of Ring's web page.
 * - `password`: the older flow.
 */
export type LoginFlow = 'auto' | 'pkce' | 'password'

/** The credentials for {@link RingTokenManager.login}. The manager does not keep them. */
export interface LoginCredentials {
  email: string
  /** Used unchanged: spaces at its beginning and end are part of it. */
  password: string
  /**
   * The secret with which the authenticator app was set up: base32, or the `otpauth://totp/…` address of its QR code. If Ring
   * asks for the code of an authenticator app, the login submits a code computed from the secret. If Ring refuses it, the login tries the
   * next code once, which can take a minute. The manager does not keep the secret, and never logs in by itself.
   */
  totpSecret?: string | undefined
}

/** What a manager has done since its construction. */
export interface Stats {
  /** Refreshes that Ring answered with new tokens. */
  readonly rotations: number
  /** Refreshes that needed no request, because another process or manager had rotated the token. */
  readonly adopted: number
  /** Refreshes that continued one in which an earlier process was stopped. */
  readonly takeovers: number
  /** Failed token requests, counted by error code. */
  readonly failures: Readonly<Partial<Record<ErrorCode, number>>>
  /**
   * The time when Ring last accepted a token or a login of the account, from any process, in milliseconds since 1970; `null` if
   * that is not known.
   */
  readonly lastSuccessAt: number | null
}

/**
 * The message of the tracing channel `ring-auth:refresh` (`tracingChannel` of `node:diagnostics_channel`). `start` and `end` have
 * the reason only; `error`, `asyncStart` and `asyncEnd` have all fields. Holds no secret.
 */
export interface RefreshTrace {
  /**
   * `needed`: a caller needs an access token. `unasked`: the current access token ends soon. `asked`: `refresh()`. `forced`:
   * `refresh({ force: true })`. `recover`: an earlier process was stopped in the middle of a refresh.
   */
  reason: 'needed' | 'unasked' | 'asked' | 'forced' | 'recover'
  /** The number of requests. */
  requests?: number
  /** Whether no request was needed, because another process or manager had rotated the token. */
  adopted?: boolean
  durationMs?: number
  /** The code of the failure, if the refresh failed. */
  code?: ErrorCode
  /** The failure as an error. */
  error?: RingAuthError
}

/** The state of a login. */
export interface LoginStep {
  /** Whether the login is complete and the token is stored. */
  authenticated: boolean
  /** Present if a code is needed. */
  twoFactor?: TwoFactor
}

/** The two-factor code that Ring asks for. */
export interface TwoFactor {
  /** How the code reaches the user; `totp` is an authenticator app. */
  method: 'sms' | 'email' | 'totp' | 'unknown'
  /** Where Ring has sent the code, masked by Ring, such as `+1xxxxxxxx89`. */
  destination?: string
  /** The time until another code can be requested, in seconds. */
  resendInSeconds?: number
  /** A sentence to show to the user. */
  prompt: string
}

/** Options of one call. */
export interface CallOptions {
  /**
   * Ends the wait: the call rejects with `ABORTED`, at once if the signal was aborted before. The refresh itself continues, because
   * other callers may wait for it and a rotation must be stored.
   */
  signal?: AbortSignal | undefined
}

/** Options of {@link RingTokenManager.refresh}. */
export interface RefreshOptions extends CallOptions {
  /** Refresh even during a cool-down, and even with a rejected token (at most every 60 s). Default: `false`. */
  force?: boolean | undefined
}

/** A valid access token and everything that is known about it. Plain data that holds secrets. */
export interface Auth {
  /** For `Authorization: Bearer …`. */
  accessToken: string
  /** The token type in Ring's answer: `Bearer`. */
  tokenType: string
  /** The scope in Ring's answer: `client`. */
  scope: string
  /** The time when the access token expires, in milliseconds since 1970. */
  expiresAt: number
  /** The newest refresh token, wrapped. */
  refreshToken: string
  /** The hardware id, to be sent as the header `hardware_id`. */
  hardwareId: string
}

/** A rotation, or another change of the wrapped token. */
export interface RefreshTokenUpdate {
  /** The previous wrapped token; absent for the first one. */
  readonly oldRefreshToken?: string
  /** The wrapped token to use from now on. */
  readonly newRefreshToken: string
}

/**
 * - `idle`: no access token yet, or an expired one, and no problem.
 * - `ready`: there is a valid access token.
 * - `refreshing`: a request is under way.
 * - `waiting`: a cool-down after a failure, until `retryAt`.
 * - `needs-login`: there is no refresh token, or Ring has rejected it. A person has to log in.
 */
export type State = 'idle' | 'ready' | 'refreshing' | 'waiting' | 'needs-login'

/** The state of the manager, and the last problem if there is one. */
export interface Status {
  readonly state: State
  /** The code of the problem, if there is one. */
  readonly code?: ErrorCode
  /** The problem as a sentence that says what to do. */
  readonly message?: string
  /** The time when the cool-down ends, in milliseconds since 1970. */
  readonly retryAt?: number
  /** Whether the newest token is on disk; with a shared store, whether that store has it. Always `false` with the `memory` store. */
  readonly persisted: boolean
}

/**
 * A source of events. It calls its listeners in the order of their subscription. If a listener throws or its promise rejects,
 * the manager reports that to the logger and calls the other listeners.
 *
 * RxJS's `from()` and `firstValueFrom()` work on it.
 */
export interface Observable<T> {
  /**
   * @throws {RingAuthError} `INVALID_ARGUMENT`: the listener is neither a function nor an object whose `next` is a function or absent.
   */
  subscribe(listener: ((value: T) => void) | Observer<T>): Subscription
  /** The method that RxJS's `from()` calls. */
  [Symbol.observable](): Observable<T>
}

/** An object that listens to an {@link Observable}. There are no errors, and there is no completion. */
export interface Observer<T> {
  next?(value: T): void
}

/** What {@link Observable.subscribe} returns. */
export interface Subscription {
  /** Ends the subscription. May be called more than once. */
  unsubscribe(): void
}

/** Receives the manager's messages: a function that gets each one, or an object with a method for each level. */
export type Logger = ((entry: LogEntry) => void) | LoggerMethods

/**
 * An object with log methods, such as `console`, a pino logger or Homebridge's `log`. The manager calls the method of the message's
 * level on the object itself. A value that can be called and has `error`, `warn` and `info` is used as such an object.
 */
export interface LoggerMethods {
  error(message: string): unknown
  warn(message: string): unknown
  info(message: string): unknown
  /** If it is absent, the manager drops messages of this level. */
  debug?(message: string): unknown
}

/** One message of the manager. Holds no secret. */
export interface LogEntry {
  level: LogLevel
  message: string
}

export type LogLevel = 'error' | 'warn' | 'info' | 'debug'

/**
 * The kind of a failure. Each code stands for one thing to do about it: `docs/errors.md` has a section on each.
 *
 * - `INVALID_ARGUMENT`: an option, an argument or a token is invalid.
 * - `TWO_FACTOR_REQUIRED`: a login waits for its code.
 * - `NO_REFRESH_TOKEN`: there is no token, neither in the options nor in the store.
 * - `TWO_FACTOR_INVALID`: the code was wrong or too old.
 * - `INVALID_CREDENTIALS`: wrong e-mail address or password.
 * - `TWO_FACTOR_RATE_LIMITED`: too many codes were requested. Transient.
 * - `REFRESH_TOKEN_REJECTED`: Ring no longer accepts the refresh token.
 * - `CLIENT_REJECTED`: Ring refuses the client id.
 * - `BLOCKED`: Ring's edge refuses this address, hardware id or `User-Agent`. Transient.
 * - `RATE_LIMITED`: too many requests. Transient.
 * - `SERVER_ERROR`: Ring's server failed. Transient.
 * - `NETWORK`: no connection, or it was cut off. Transient.
 * - `TIMEOUT`: no answer in time. Transient.
 * - `PROTOCOL`: an answer that does not come from Ring. Transient.
 * - `STORE`: the store cannot be read or written. A shared store that does not answer may answer the next call.
 * - `STORE_LOCKED`: another process or host holds the store for too long, or it cannot be locked. Transient.
 * - `CLOSED`: the manager was closed.
 * - `ABORTED`: the call's signal was aborted.
 */
export type ErrorCode =
  | 'INVALID_ARGUMENT'
  | 'TWO_FACTOR_REQUIRED'
  | 'NO_REFRESH_TOKEN'
  | 'TWO_FACTOR_INVALID'
  | 'INVALID_CREDENTIALS'
  | 'TWO_FACTOR_RATE_LIMITED'
  | 'REFRESH_TOKEN_REJECTED'
  | 'CLIENT_REJECTED'
  | 'BLOCKED'
  | 'RATE_LIMITED'
  | 'SERVER_ERROR'
  | 'NETWORK'
  | 'TIMEOUT'
  | 'PROTOCOL'
  | 'STORE'
  | 'STORE_LOCKED'
  | 'CLOSED'
  | 'ABORTED'

/**
 * The error of every rejection and every throw in this package. Its message says what is wrong and what to do next. No field
 * holds a secret.
 *
 * `instanceof` also recognises errors of another copy of this package in the same process.
 */
export class RingAuthError extends Error {
  private constructor(code: ErrorCode, message: string)
  /** The kind of the failure. */
  readonly code: ErrorCode
  /** Whether the same call can succeed later without any action. */
  readonly transient: boolean
  /** The HTTP status of Ring's answer, if there was one. */
  readonly httpStatus?: number
  /** The time to wait before the next try, in milliseconds, if it is known. */
  readonly retryAfterMs?: number
  /** The underlying cause: the message of the system or of a library, or the reason of the aborted signal. */
  readonly cause?: unknown
}

/**
 * Makes a `RingApi` of ring-client-api 14 take its tokens from a manager. The `RingApi` no longer makes token requests, its API
 * requests go through the manager's core, and each side gets the other's rotations and push credentials. This includes cameras and
 * locations that already exist.
 *
 * Attach it before its first request. If it has rotated its token by then, the manager takes over the new one.
 *
 * @throws {RingAuthError} `INVALID_ARGUMENT`: not a `RingApi`, a `RingApi` of an unknown version, not a manager of this
 * version, or already attached.
 *
 * @example
 * const ringApi = new RingApi({ refreshToken: manager.refreshToken })
 * attachToRingApi(ringApi, manager)
 */
export function attachToRingApi(ringApi: AttachableRingApi, manager: RingTokenManager): RingApiAttachment

/** The part of a `RingApi` that {@link attachToRingApi} needs. */
export interface AttachableRingApi {
  readonly restClient: object
}

/** What {@link attachToRingApi} returns. */
export interface RingApiAttachment {
  /**
   * Gives the token back to the `RingApi`, which is its keeper from then on: close the manager. If a rotation is under way, the
   * `RingApi` waits for it before its next request. May be called more than once.
   */
  detach(): void
}

/**
 * Decodes a refresh token without using it.
 *
 * @param token Wrapped or raw; the token itself may have up to 64 KiB. Quotation marks and similar text around it are removed.
 * @throws {RingAuthError} `INVALID_ARGUMENT`: the text cannot be a refresh token.
 */
export function parseRefreshToken(token: string): ParsedRefreshToken

/** The parts of a refresh token, as {@link parseRefreshToken} returns them. */
export interface ParsedRefreshToken {
  /** The inner token, as Ring issued it. A secret. */
  raw: string
  /** The hardware id of the token; absent in a raw token. */
  hardwareId?: string
  /** Whether the token holds push-notification credentials. */
  hasPushCredentials: boolean
}
