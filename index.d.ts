/**
 * Gets a Ring refresh token, keeps it alive through every rotation, and never loses it.
 *
 * Every promise here rejects with a {@link RingAuthError}, and so does every function that throws.
 */

declare global {
  // Both are there at run time in every supported version. These lines only make their names known where the
  // project's `lib` does not have them; where it does, they change nothing.
  interface SymbolConstructor {
    readonly asyncDispose: unique symbol
    /** As RxJS declares it. */
    readonly observable: symbol
  }
  interface AbortSignal {}
}

/**
 * Keeps one account's refresh token: rotates it when an access token is needed, stores each new one durably before
 * anybody can use what came with it, and says when a person has to log in.
 *
 * One manager per account is enough for a process. Several, in one process or in many, are safe on the same `file`
 * store: they take turns, and adopt each other's rotations.
 *
 * An idle manager does not keep the process alive; a rotation under way does, until it is stored.
 *
 * @example
 * const manager = new RingTokenManager({ store: { type: 'file', path: './ring-auth.json' } })
 * const accessToken = await manager.getAccessToken()
 */
export class RingTokenManager {
  /**
   * Reads the store; makes no request, except where an earlier process was stopped in the middle of one.
   *
   * A store that cannot be read throws nothing here: `status` and the logger say so, and every call rejects with `STORE`
   * until it can be read.
   *
   * @throws {RingAuthError} `INVALID_ARGUMENT`: an option is unknown, of the wrong type, or cannot be meant; also where
   * the store belongs to another `oauthUrl`.
   */
  constructor(options?: RingTokenManagerOptions)

  /**
   * Logs in with e-mail and password. Resolves with `authenticated: false` when Ring has sent a code: hand it to
   * {@link submitTwoFactorCode}.
   *
   * Each call can make Ring send a code, and Ring allows few of them: do not call it again to ask for one, use
   * {@link resendTwoFactorCode}. A call with the same credentials joins one that has not been answered yet.
   *
   * With `totpSecret` an authenticator's code is made here, and nobody is asked for it.
   *
   * @throws {RingAuthError} `TWO_FACTOR_INVALID`: Ring refused two codes made from `totpSecret`. The login waits for another one.
   * @throws {RingAuthError} `INVALID_CREDENTIALS`: wrong e-mail or password.
   * @throws {RingAuthError} `TWO_FACTOR_RATE_LIMITED`: too many codes were asked for.
   * @throws {RingAuthError} `BLOCKED`, `RATE_LIMITED`, `SERVER_ERROR`, `NETWORK`, `TIMEOUT`, `PROTOCOL`, `STORE`,
   * `STORE_LOCKED`, `CLOSED`, `INVALID_ARGUMENT`.
   */
  login(credentials: LoginCredentials): Promise<LoginStep>

  /**
   * Hands in the code that {@link login} asked for. A string, because a code may begin with 0.
   *
   * @throws {RingAuthError} `TWO_FACTOR_INVALID`: wrong or too old; call it again with another code.
   * @throws {RingAuthError} `INVALID_ARGUMENT`: no login waits for a code. Else as {@link login}.
   */
  submitTwoFactorCode(code: string): Promise<LoginStep>

  /**
   * Asks Ring for another code, within the login under way.
   *
   * @throws {RingAuthError} `TWO_FACTOR_RATE_LIMITED`: too many codes were asked for; `retryAfterMs` says how long to wait.
   * @throws {RingAuthError} `INVALID_ARGUMENT`: no login waits for a code. Else as {@link login}.
   */
  resendTwoFactorCode(): Promise<LoginStep>

  /**
   * An access token that is valid now. Makes a request only when there is none: ask for it before each use, and do not
   * keep it.
   *
   * In the last tenth of its lifetime (at most ten minutes) the current one is returned at once, and a refresh starts
   * beside it.
   *
   * @throws {RingAuthError} `NO_REFRESH_TOKEN`, `REFRESH_TOKEN_REJECTED`: a person has to log in.
   * @throws {RingAuthError} `TWO_FACTOR_REQUIRED`: a login waits for its code, and there is no other token.
   * @throws {RingAuthError} `ABORTED`: `signal` was aborted; `cause` is its reason. The refresh goes on for others.
   * @throws {RingAuthError} Any other code: see {@link ErrorCode}. Within a cool-down, the last failure again with
   * `retryAfterMs`, without a request.
   */
  getAccessToken(options?: CallOptions): Promise<string>

  /**
   * As {@link getAccessToken}, with all that is known of the token. The result is plain data and holds secrets: do not log it.
   */
  getAuth(options?: CallOptions): Promise<Auth>

  /**
   * Rotates now, whatever the expiry says. Rarely needed: {@link getAccessToken} does it in time.
   *
   * @throws {RingAuthError} As {@link getAccessToken}.
   */
  refresh(options?: RefreshOptions): Promise<Auth>

  /**
   * Says that an API answered 401 to this access token. The next {@link getAccessToken} refreshes, once, however many
   * callers saw the 401. A token that is not the current one is ignored.
   *
   * Such rotations are limited: five, and one more every five minutes. Beyond that the current token is returned, so
   * that an API that answers 401 to everything does not cost a rotation each time.
   *
   * @throws {RingAuthError} `INVALID_ARGUMENT`, `CLOSED`.
   */
  invalidateAccessToken(accessToken: string): void

  /**
   * Uses another refresh token from now on: the user linked the account again. Resolves when it is stored; makes no request.
   *
   * @param refreshToken Wrapped or raw; the token itself at most 64 KiB. Quotation marks and the like around it are removed.
   * @throws {RingAuthError} `INVALID_ARGUMENT`: it cannot be a token. `STORE`, `STORE_LOCKED`, `CLOSED`.
   */
  setRefreshToken(refreshToken: string): Promise<void>

  /**
   * Keeps push-notification credentials inside the wrapped refresh token, as ring-client-api does; `null` removes them.
   * That changes the wrapped token without a rotation at Ring, so it is stored and announced like one.
   *
   * @param pnc Anything that JSON can hold, as an object.
   * @throws {RingAuthError} `INVALID_ARGUMENT`: not an object, or not possible in JSON. `NO_REFRESH_TOKEN`, `STORE`,
   * `STORE_LOCKED`, `CLOSED`.
   */
  setPushCredentials(pnc: object | null): Promise<void>

  /**
   * Waits until there is a refresh token that Ring did not reject: until somebody has logged in, with this manager, with
   * another one on the same store or with the command line. While a login is needed the manager looks at
   * its journal every 15 seconds. A call that waits keeps the process alive.
   *
   * @throws {RingAuthError} `CLOSED`, `ABORTED`.
   *
   * @example
   * if (manager.status.state === 'needs-login') await manager.waitForLogin()
   */
  waitForLogin(options?: CallOptions): Promise<void>

  /** The newest refresh token, wrapped as ring-client-api does it; `null` while there is none. A secret. */
  readonly refreshToken: string | null

  /** The device id that Ring knows this installation by, a UUID; `null` while there is none. */
  readonly hardwareId: string | null

  /** What the manager is doing, and what is wrong if something is. Holds no secret. */
  readonly status: Status

  /** What this manager has done since it was made. Plain data without a secret. */
  readonly stats: Stats

  /**
   * Each new refresh token, after it was stored. A late subscriber gets the last one at once.
   *
   * With the `file` store nothing needs to be saved here; with `memory` this is the place to save it.
   *
   * @example
   * manager.onRefreshTokenUpdated.subscribe(({ newRefreshToken }) => save(newRefreshToken))
   */
  readonly onRefreshTokenUpdated: Observable<RefreshTokenUpdate>

  /** Each change of {@link status}. The current one is not replayed: read {@link status} for it. */
  readonly onStatus: Observable<Status>

  /**
   * Waits until a rotation under way is stored, and ends the manager. May be called again: it is the same promise.
   * Afterwards every call rejects with `CLOSED`; `refreshToken`, `hardwareId` and `status` can still be read.
   */
  close(): Promise<void>

  /** {@link close}, for `await using`. */
  [Symbol.asyncDispose](): Promise<void>
}

/** Options of {@link RingTokenManager}. An unknown one is `INVALID_ARGUMENT`. */
export interface RingTokenManagerOptions {
  /**
   * The token to begin with: wrapped, as ring-client-api and the command line print it, or raw. The token itself at most 64 KiB.
   * Quotation marks and the like around it are removed. A text that cannot be a token is `INVALID_ARGUMENT`, or is ignored with a
   * warning if the store holds a token. Not needed where the store holds one; where the store knows this one as old, the store's own is used.
   */
  refreshToken?: string | undefined

  /** Where the token is kept. Default: `{ type: 'memory' }`. */
  store?: Store | undefined

  /**
   * What the device id is derived from where no token or store brings one, as in ring-client-api.
   * Default: the operating system's own id of this machine.
   */
  systemId?: string | undefined

  /** The name of this device in the Control Center of Ring's app. Default: `ring-auth`. */
  controlCenterDisplayName?: string | undefined

  /** How {@link RingTokenManager.login} logs in. Default: `'auto'`. */
  loginFlow?: LoginFlow | undefined

  /** The `User-Agent` header. Ring refuses what does not look like its app. Default: `android:com.ringapp:3.113.0(70497080)`. */
  userAgent?: string | undefined

  /** Ring's authentication server. Plain http only to this machine. Default: `https://oauth.ring.com`. */
  oauthUrl?: string | undefined

  /** Ring's API server. Plain http only to this machine. Default: `https://api.ring.com`. */
  apiUrl?: string | undefined

  /** How long one request may take, in milliseconds: 1 to 2147483647. Default: 20000. */
  requestTimeoutMs?: number | undefined

  /**
   * `false`: refresh when asked for a token. `true`: also ahead of expiry, unasked, and again by itself after a failure,
   * until {@link RingTokenManager.close}. It does not keep the process alive. Default: `false`.
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
 * - `memory`: nowhere. `persisted` in the status is `false`; saving each token is up to you.
 * - `file`: in a journal, a file of this package's own.
 * - `homebridge`, `dotenv`: in a journal of its own, and always up to date where people look for it as well.
 * - an object with `load` and `save`: with your own code, behind a journal or alone.
 *
 * Relative paths are relative to the working directory at construction. A journal and its folder's entry are synced
 * before a new token is used, and several processes may share one.
 */
export type Store = MemoryStore | FileStore | HomebridgeStore | DotenvStore | CustomStore

/** See {@link Store}. */
export interface MemoryStore {
  type: 'memory'
}

/** See {@link Store}. */
export interface FileStore {
  type: 'file'
  /** The journal. Must not be empty. */
  path: string
}

/**
 * The `refreshToken` of a block in Homebridge's `config.json`. Nothing else in that file is changed, not a blank. A token
 * that somebody pastes there is used from the next refresh, or start, on; an old copy that comes back is put right.
 */
export interface HomebridgeStore {
  type: 'homebridge'
  /** The file: `api.user.configPath()` in a plugin. */
  configPath: string
  /** The `platform` of the block. Default: `Ring`. */
  platform?: string | undefined
  /** The `name` of the block. Needed where there are several blocks of that platform. */
  name?: string | undefined
  /** The folder of the journal. Default: `.ring-auth` beside the file, where the command line finds it too. */
  statePath?: string | undefined
  /**
   * `true`: a login adds the block if there is none, and removes `email` and `password` from it, as
   * `ring-auth login --homebridge` does. Whether the file can be written is checked before Ring is asked for a code.
   * Default: `false`.
   */
  addBlock?: boolean | undefined
}

/** The value of a key in a `.env` file. The file is made, for its owner alone, where there is none. */
export interface DotenvStore {
  type: 'dotenv'
  /** The file. Must not be empty. */
  path: string
  /** The key. Default: `RING_REFRESH_TOKEN`. */
  key?: string | undefined
  /** The folder of the journal. Default: `.ring-auth` beside the file, where the command line finds it too. */
  statePath?: string | undefined
}

/**
 * Your own code. The two are called one at a time. Each call is awaited, for ten seconds: then it counts as failed. What
 * fails is reported and tried again. Calling the manager from inside one of them is `INVALID_ARGUMENT`.
 */
export interface CustomStore {
  type?: undefined
  /** The token that is kept, if there is one. Called at the start and before each refresh. */
  load(): string | null | undefined | Promise<string | null | undefined>
  /** Keeps a token. `oldRefreshToken` is the one that was kept before. */
  save(newRefreshToken: string, oldRefreshToken?: string): void | Promise<void>
  /**
   * The folder of a journal. With it a `save` that fails loses nothing, and other processes are kept apart. Without it
   * nothing is durable but what `save` does, and nothing protects from another process with the same token.
   */
  statePath?: string | undefined
}

/**
 * - `auto`: one of the others, and the second one where the first is not available; never both after a code was sent.
 * - `pkce`: the flow of Ring's web page.
 * - `password`: the older flow.
 */
export type LoginFlow = 'auto' | 'pkce' | 'password'

/** For {@link RingTokenManager.login}. Neither is kept. */
export interface LoginCredentials {
  email: string
  /** Taken as it is: blanks at its ends belong to it. */
  password: string
  /**
   * The secret that the authenticator app was set up with: base32, or the `otpauth://totp/…` address of its QR code. If
   * Ring asks for an authenticator's code, the login answers with one made from it, and after a wrong one once more with
   * the next; that can take a minute. It is not kept, and never used to log in unasked.
   */
  totpSecret?: string | undefined
}

/** What a manager has done since it was made. */
export interface Stats {
  /** Refreshes to which Ring gave this manager new tokens. */
  readonly rotations: number
  /** Refreshes that needed no request, because another process or manager had rotated. */
  readonly adopted: number
  /** Refreshes that went on where a process had been stopped in the middle of one. */
  readonly takeovers: number
  /** Requests for tokens that failed, by what they failed with. */
  readonly failures: Readonly<Partial<Record<ErrorCode, number>>>
  /**
   * When Ring last accepted a token or a login of the account, in milliseconds since 1970, whichever process it was; `null`
   * if that is not known.
   */
  readonly lastSuccessAt: number | null
}

/**
 * What the subscribers of the tracing channel `ring-auth:refresh` get (`tracingChannel` of `node:diagnostics_channel`): in
 * `start` and `end` the reason alone, in `error`, `asyncStart` and `asyncEnd` all of it. Holds no secret.
 */
export interface RefreshTrace {
  /**
   * `needed`: a caller needs an access token. `unasked`: the current one ends soon. `asked`, `forced`: `refresh()`, and with
   * `force`. `recover`: an earlier process was stopped in the middle of a refresh.
   */
  reason: 'needed' | 'unasked' | 'asked' | 'forced' | 'recover'
  /** How many requests it made. */
  requests?: number
  /** Whether it needed none, because another process or manager had rotated. */
  adopted?: boolean
  durationMs?: number
  /** Why it failed, if it did. */
  code?: ErrorCode
  /** The same as an error. */
  error?: RingAuthError
}

/** How far a login has come. */
export interface LoginStep {
  /** Whether the login is complete: a token is there, and stored. */
  authenticated: boolean
  /** Present when a code is needed. */
  twoFactor?: TwoFactor
}

/** The code that Ring wants to see. */
export interface TwoFactor {
  /** How the code reaches the user; `totp` is an authenticator app. */
  method: 'sms' | 'email' | 'totp' | 'unknown'
  /** Where it was sent, as Ring masks it, such as `+1xxxxxxxx89`. */
  destination?: string
  /** How long until another code can be asked for, in seconds. */
  resendInSeconds?: number
  /** A sentence to show to the user. */
  prompt: string
}

/** Options of one call. */
export interface CallOptions {
  /**
   * Gives up waiting: the call rejects with `ABORTED`, at once where it was aborted before. The work itself goes on,
   * because others may wait for it and a rotation must be stored.
   */
  signal?: AbortSignal | undefined
}

/** Options of {@link RingTokenManager.refresh}. */
export interface RefreshOptions extends CallOptions {
  /** Even in a cool-down, and even with a token that was rejected (that one at most every 60 s). Default: `false`. */
  force?: boolean | undefined
}

/** A valid access token and what is known of it. Plain data that holds secrets. */
export interface Auth {
  /** For `Authorization: Bearer …`. */
  accessToken: string
  /** As Ring says it: `Bearer`. */
  tokenType: string
  /** As Ring says it: `client`. */
  scope: string
  /** When it expires, in milliseconds since the epoch. */
  expiresAt: number
  /** The newest refresh token, wrapped. */
  refreshToken: string
  /** The device id to send as `hardware_id`. */
  hardwareId: string
}

/** A rotation, or another change of the wrapped token. */
export interface RefreshTokenUpdate {
  /** The wrapped token before; absent for the first one. */
  readonly oldRefreshToken?: string
  /** The wrapped token to use from now on. */
  readonly newRefreshToken: string
}

/**
 * - `idle`: no access token yet, or an expired one; nothing wrong.
 * - `ready`: a valid access token.
 * - `refreshing`: a request is under way.
 * - `waiting`: in a cool-down after a failure, until `retryAt`.
 * - `needs-login`: no refresh token, or a rejected one: a person has to log in.
 */
export type State = 'idle' | 'ready' | 'refreshing' | 'waiting' | 'needs-login'

/** What the manager is doing, and what is wrong. */
export interface Status {
  readonly state: State
  /** What is wrong, if something is. */
  readonly code?: ErrorCode
  /** The same as a sentence that says what to do. */
  readonly message?: string
  /** When the cool-down ends, in milliseconds since the epoch. */
  readonly retryAt?: number
  /** Whether the newest token is on disk. Always `false` with the `memory` store. */
  readonly persisted: boolean
}

/**
 * Something to subscribe to. Listeners are called in the order of their subscription. One that throws, or whose promise
 * rejects, is reported to the logger and stops nobody else.
 *
 * RxJS's `from()` and `firstValueFrom()` work on it.
 */
export interface Observable<T> {
  /**
   * @throws {RingAuthError} `INVALID_ARGUMENT`: not a function, nor an object whose `next` is one or absent.
   */
  subscribe(listener: ((value: T) => void) | Observer<T>): Subscription
  /** What RxJS's `from()` looks for. */
  [Symbol.observable](): Observable<T>
}

/** An object that listens to an {@link Observable}. Errors and completion never come. */
export interface Observer<T> {
  next?(value: T): void
}

/** What {@link Observable.subscribe} returns. */
export interface Subscription {
  /** Ends the subscription. May be called again. */
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
 * What is wrong, in terms of what to do about it. `docs/errors.md` has a section on each.
 *
 * - `INVALID_ARGUMENT`: an option, an argument or a token cannot be meant.
 * - `TWO_FACTOR_REQUIRED`: a login waits for its code.
 * - `NO_REFRESH_TOKEN`: there is no token anywhere.
 * - `TWO_FACTOR_INVALID`: the code was wrong or too old.
 * - `INVALID_CREDENTIALS`: wrong e-mail or password.
 * - `TWO_FACTOR_RATE_LIMITED`: too many codes were asked for. Transient.
 * - `REFRESH_TOKEN_REJECTED`: Ring says that the refresh token is dead.
 * - `CLIENT_REJECTED`: Ring refuses the client id.
 * - `BLOCKED`: Ring's edge refuses this address, device id or `User-Agent`. Transient.
 * - `RATE_LIMITED`: too many requests. Transient.
 * - `SERVER_ERROR`: Ring is in trouble. Transient.
 * - `NETWORK`: no connection, or it was cut off. Transient.
 * - `TIMEOUT`: no answer in time. Transient.
 * - `PROTOCOL`: an answer that is not Ring's. Transient.
 * - `STORE`: the store cannot be read or written.
 * - `STORE_LOCKED`: another process holds the store for too long, or it cannot be locked. Transient.
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
 * The only kind of error here. Its message says what is wrong and what to do next; neither it nor any other field holds
 * a secret.
 *
 * `instanceof` also recognises errors of another copy of this package in the same process.
 */
export class RingAuthError extends Error {
  private constructor(code: ErrorCode, message: string)
  /** What is wrong, in terms of what to do about it. */
  readonly code: ErrorCode
  /** Whether the same call can succeed later without anybody doing anything. */
  readonly transient: boolean
  /** The HTTP status of Ring's answer, where there was one. */
  readonly httpStatus?: number
  /** How long to wait before the next try, in milliseconds, where it is known. */
  readonly retryAfterMs?: number
  /** What lies behind it: the words of the system or of a library, or the reason of the aborted signal. */
  readonly cause?: unknown
}

/**
 * Makes a `RingApi` of ring-client-api 14 take its tokens from a manager: it makes no token request of its own any more, its
 * API requests go through the manager's core, and rotations and push credentials go both ways. Cameras and locations
 * that it has made already are included.
 *
 * Attach it before its first request. Where it has rotated its token by then, the one it got is taken over.
 *
 * @throws {RingAuthError} `INVALID_ARGUMENT`: not a `RingApi`, or one of a version that is not known; not a manager of this
 * version; already attached.
 *
 * @example
 * const ringApi = new RingApi({ refreshToken: manager.refreshToken })
 * attachToRingApi(ringApi, manager)
 */
export function attachToRingApi(ringApi: AttachableRingApi, manager: RingTokenManager): RingApiAttachment

/** What {@link attachToRingApi} needs to see of a `RingApi`. */
export interface AttachableRingApi {
  readonly restClient: object
}

/** What {@link attachToRingApi} returns. */
export interface RingApiAttachment {
  /**
   * Gives the `RingApi` its token back: it is the keeper from then on, so close the manager. A rotation under way is waited
   * for by the `RingApi` before its next request. May be called again.
   */
  detach(): void
}

/**
 * Looks into a refresh token without using it.
 *
 * @param token Wrapped or raw; the token itself at most 64 KiB. Quotation marks and the like around it are removed.
 * @throws {RingAuthError} `INVALID_ARGUMENT`: it cannot be a refresh token.
 */
export function parseRefreshToken(token: string): ParsedRefreshToken

/** What {@link parseRefreshToken} found. */
export interface ParsedRefreshToken {
  /** The inner token, as Ring knows it. A secret. */
  raw: string
  /** The device id it belongs to; absent in a raw token. */
  hardwareId?: string
  /** Whether push-notification credentials are in it. */
  hasPushCredentials: boolean
}
