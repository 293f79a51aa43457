// @ts-check
'use strict'

// The program of the page, which runs in a browser. It is sent as text, so this function uses nothing from outside of it.

/** @typedef {import('./flow.js').Answer} Answer */
/** @typedef {import('./texts.js').Texts} Texts */

/** @typedef {import('./page.js').PageSettings} PageSettings */

/** @param {PageSettings} settings */
// biome-ignore lint/correctness/noUnusedVariables: called by the line that the server adds
function ringAuthPage(settings) {
  const RIGHT_TO_LEFT = ['ar', 'dv', 'fa', 'he', 'ps', 'ur', 'yi']
  const SESSION = 'ring-auth.session'
  /** How long to wait for Homebridge's UI, some versions of which never answer. */
  const SAVE_MS = 5000
  const isHomebridge = settings.place === 'homebridge'
  const homebridge = /** @type {any} */ (globalThis).homebridge
  const root = /** @type {HTMLElement} */ (document.getElementById('ring-auth'))
  /** @type {Texts} */
  let texts = /** @type {Texts} */ (settings.table['en'])
  /** @type {ReturnType<typeof setInterval> | undefined} */
  let countdown
  let isBusy = false
  let resendAt = 0
  let unique = 0
  /** The blocks of the platform in the dialogue's copy of the configuration. @type {any[]} */
  let blocks = []

  // ---- small parts

  /**
   * @param {string} tag
   * @param {Record<string, string | boolean | undefined>} [attributes]
   * @param {(Node | string | undefined)[]} children
   * @returns {any}
   */
  function element(tag, attributes = {}, ...children) {
    const made = document.createElement(tag)
    for (const [name, value] of Object.entries(attributes)) {
      if (value !== undefined && value !== false) made.setAttribute(name, value === true ? '' : value)
    }
    made.append(...children.filter((child) => child !== undefined))
    return made
  }

  /** @param {string} text @param {Record<string, string | number>} values */
  function filled(text, values) {
    return text.replace(/\{(\w+)\}/g, (whole, name) => String(values[name] ?? whole))
  }

  /** @param {string} label @param {Record<string, string | boolean | undefined>} attributes @param {Node} [beside] */
  function field(label, attributes, beside) {
    const id = `ra-${++unique}`
    const input = element('input', {
      id,
      class: 'ra-input form-control',
      required: true,
      'aria-describedby': `${id}-error`,
      ...attributes,
    })
    const error = element('p', { id: `${id}-error`, class: 'ra-error', dir: 'auto', hidden: true })
    const row = beside === undefined ? input : element('div', { class: 'ra-row' }, input, beside)
    const node = element(
      'div',
      { class: 'ra-field' },
      element('label', { for: id, class: 'form-label', dir: 'auto' }, label),
      row,
      error,
    )
    input.addEventListener('input', () => blame({ input, error }, ''))
    return { node, input, error }
  }

  /** @param {{ input: HTMLElement, error: HTMLElement }} target @param {string} sentence */
  function blame({ input, error }, sentence) {
    error.textContent = sentence
    error.hidden = sentence === ''
    if (sentence === '') input.removeAttribute('aria-invalid')
    else {
      input.setAttribute('aria-invalid', 'true')
      input.focus()
    }
  }

  /** @param {string} text @param {'primary' | 'secondary' | 'link'} kind @param {'submit' | 'button'} [type] */
  function button(text, kind, type = 'button') {
    return element('button', { type, class: `ra-button ra-${kind} btn btn-${kind}` }, text)
  }

  // ---- the fixed parts of the page

  const heading = element('h1', { class: 'ra-title', tabindex: '-1' })
  const live = element('div', { role: 'status', class: 'ra-status', dir: 'auto' })
  const stage = element('div', { class: 'ra-stage' })

  /** @param {string} sentence @param {'info' | 'success' | 'danger'} [kind] @param {string} [detail] */
  function say(sentence, kind = 'info', detail = '') {
    live.className = sentence === '' ? 'ra-status' : `ra-status ra-${kind} alert alert-${kind}`
    live.replaceChildren(element('p', {}, sentence))
    if (detail !== '') live.append(element('p', { class: 'ra-detail', dir: 'auto', lang: 'en' }, detail))
    if (sentence === '') live.replaceChildren()
  }

  /** @param {string} title @param {Node[]} nodes */
  function show(title, ...nodes) {
    clearInterval(countdown)
    heading.textContent = title
    if (!isHomebridge) document.title = title
    stage.replaceChildren(...nodes)
  }

  /**
   * Sends a form once, even if it is submitted several times.
   * @param {HTMLFormElement} form
   * @param {() => Promise<void>} work
   */
  async function busily(form, work) {
    if (isBusy) return
    isBusy = true
    form.setAttribute('aria-busy', 'true')
    try {
      await work()
    } finally {
      isBusy = false
      form.removeAttribute('aria-busy')
    }
  }

  // ---- the way to the server

  /** @param {string} name @param {object} [body] @returns {Promise<Answer>} */
  async function ask(name, body = {}) {
    if (isHomebridge) return homebridge.request(`/ring-auth/${name}`, body)
    const response = await fetch(`api/${name}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'x-ring-auth-session': sessionStorage.getItem(SESSION) ?? '' },
      body: JSON.stringify(body),
    })
    if (response.status === 401) throw new Error('SESSION')
    if (!response.ok) throw new Error('UNEXPECTED')
    return response.json()
  }

  /** @param {unknown} error */
  function sayFailure(error) {
    const code = error instanceof Error && error.message === 'SESSION' ? 'SESSION' : undefined
    if (code === 'SESSION') sessionStorage.removeItem(SESSION)
    const gone = isHomebridge ? 'UNEXPECTED' : 'SERVER_GONE'
    say(sentence(code ?? (error instanceof TypeError ? gone : 'UNEXPECTED')), 'danger')
  }

  /** @param {string} code @param {number} [seconds] */
  function sentence(code, seconds = 0) {
    const text = texts.errors[code] ?? texts.errors['UNEXPECTED'] ?? ''
    return filled(text, { seconds })
  }

  // ---- the steps

  /** @param {Answer} answer @param {string} [email] */
  function accountStep(answer, email = '') {
    const toggle = element(
      'button',
      {
        type: 'button',
        class: 'ra-button ra-secondary btn btn-secondary',
        'aria-pressed': 'false',
        'aria-label': texts.show,
      },
      texts.showShort,
    )
    const account = field(texts.email, {
      type: 'email',
      name: 'email',
      autocomplete: 'username',
      autocapitalize: 'none',
      spellcheck: 'false',
      value: email,
    })
    const secret = field(
      texts.password,
      { type: 'password', name: 'password', autocomplete: 'current-password' },
      toggle,
    )
    toggle.setAttribute('aria-controls', secret.input.id)
    toggle.addEventListener('click', () => {
      const isShown = secret.input.type === 'text'
      secret.input.type = isShown ? 'password' : 'text'
      toggle.setAttribute('aria-pressed', String(!isShown))
      toggle.setAttribute('aria-label', isShown ? texts.show : texts.hide)
      toggle.textContent = isShown ? texts.showShort : texts.hideShort
    })
    const choice = blockChoice()
    const form = element(
      'form',
      { class: 'ra-form', novalidate: true, 'aria-label': texts.title },
      choice?.node,
      account.node,
      secret.node,
      button(texts.submit, 'primary', 'submit'),
    )
    form.addEventListener('submit', (/** @type {Event} */ event) => {
      event.preventDefault()
      busily(form, async () => {
        const typed = { email: account.input.value.trim(), password: secret.input.value }
        blame(account, '')
        blame(secret, '')
        if (typed.password === '') blame(secret, texts.passwordMissing)
        if (typed.email === '') blame(account, texts.emailMissing)
        if (typed.email === '' || typed.password === '') return
        say(texts.waiting)
        const next = await ask('login', choice === undefined ? typed : { ...typed, block: choice.select.value })
        await go(next, typed.email, choice?.select.value, (/** @type {string} */ code, /** @type {string} */ text) => {
          const target = code === 'INVALID_CREDENTIALS' ? secret : code === 'INVALID_ARGUMENT' ? account : undefined
          if (target !== undefined) blame(target, text)
          return target !== undefined
        })
      }).catch(sayFailure)
    })
    const isLinked = blocks.some((block) => typeof block?.refreshToken === 'string' && block.refreshToken !== '')
    show(
      texts.title,
      element('p', { dir: 'auto' }, texts.intro),
      ...(isLinked ? [element('p', { dir: 'auto' }, texts.again)] : []),
      form,
    )
    if (answer.sentBefore !== undefined) {
      const { destination = texts.somewhere, at, until } = answer.sentBefore
      const clock = (/** @type {number} */ time) =>
        new Date(time).toLocaleTimeString(document.documentElement.lang || 'en')
      say(filled(texts.sentBefore, { destination, time: clock(at), until: clock(until) }))
    }
    if (answer.error === undefined) (email === '' ? account : secret).input.focus({ preventScroll: true })
  }

  /** Lets the user choose a block if there are several. */
  function blockChoice() {
    if (blocks.length < 2) return undefined
    const id = `ra-${++unique}`
    const options = blocks.map((block) => element('option', { value: nameOf(block) }, nameOf(block)))
    const select = element('select', { id, class: 'ra-input form-select' }, ...options)
    return {
      node: element(
        'div',
        { class: 'ra-field' },
        element('label', { for: id, class: 'form-label', dir: 'auto' }, texts.block),
        select,
      ),
      select,
    }
  }

  /** @param {any} block @returns {string} */
  function nameOf(block) {
    return typeof block?.name === 'string' && block.name !== '' ? block.name : String(settings.platform)
  }

  /** @param {Answer} answer @param {string | undefined} block */
  function codeStep(answer, block) {
    const { method = 'unknown', destination = '', email = '', canResend = true, resendInSeconds = 0 } = answer
    const labels = { sms: texts.codeSms, email: texts.codeEmail, totp: texts.codeTotp, unknown: texts.codeUnknown }
    const template = destination === '' && method !== 'totp' ? texts.codeUnknown : labels[method]
    const label = filled(template, { destination })
    const account = field(texts.email, {
      type: 'email',
      name: 'email',
      autocomplete: 'username',
      readonly: true,
      value: email,
    })
    const code = field(label, {
      type: 'text',
      name: 'code',
      inputmode: 'numeric',
      autocomplete: 'one-time-code',
      spellcheck: 'false',
      maxlength: '40',
    })
    const again = button(texts.resend, 'secondary')
    const back = button(texts.back, 'link')
    const form = element(
      'form',
      { class: 'ra-form', novalidate: true, 'aria-label': texts.codeTitle },
      account.node,
      code.node,
      button(texts.codeSubmit, 'primary', 'submit'),
      canResend ? again : undefined,
      back,
    )
    const onError = (/** @type {string} */ kind, /** @type {string} */ text) => {
      if (kind !== 'TWO_FACTOR_INVALID' && kind !== 'INVALID_ARGUMENT') return false
      code.input.select()
      blame(code, text)
      return true
    }
    form.addEventListener('submit', (/** @type {Event} */ event) => {
      event.preventDefault()
      busily(form, async () => {
        const typed = code.input.value.replace(/[\s-]/g, '')
        if (typed === '') return blame(code, texts.codeMissing)
        blame(code, '')
        say(texts.waiting)
        await go(await ask('code', { code: typed }), email, block, onError)
      }).catch(sayFailure)
    })
    again.addEventListener('click', () => {
      const seconds = Math.ceil((resendAt - Date.now()) / 1000)
      if (seconds > 0) return say(sentence('RESEND_TOO_SOON', seconds))
      busily(form, async () => {
        say(texts.waiting)
        const next = await ask('resend')
        await go(next, email, block, onError)
        if (next.error === undefined) say(texts.resent, 'success')
      }).catch(sayFailure)
    })
    back.addEventListener('click', () => {
      busily(form, async () => {
        say('')
        await go(await ask('cancel'), '', block)
      }).catch(sayFailure)
    })
    resendAt = Date.now() + resendInSeconds * 1000
    const tick = () => {
      const seconds = Math.ceil((resendAt - Date.now()) / 1000)
      again.textContent = seconds > 0 ? filled(texts.resendIn, { seconds }) : texts.resend
      if (seconds > 0) again.setAttribute('aria-disabled', 'true')
      else again.removeAttribute('aria-disabled')
    }
    show(texts.codeTitle, form)
    tick()
    countdown = setInterval(tick, 1000)
    code.input.focus({ preventScroll: true })
  }

  /** The step on the page. A mistake does not leave it. */
  let shown = ''

  /**
   * Shows the answer of the server.
   * @param {Answer} answer
   * @param {string} [email]
   * @param {string} [block]
   * @param {(code: string, text: string) => boolean} [onError] Shows a mistake beside its field. Returns false if the mistake has no field.
   */
  async function go(answer, email = '', block, onError) {
    const { step, error } = answer
    // A page that was loaded again does not know the chosen block.
    block = answer.block ?? block
    if (step === 'done') return doneStep(answer, block)
    const stays = step === shown && error !== undefined
    if (!stays) {
      shown = step
      if (error === undefined) say('')
      if (step === 'code') codeStep(answer, block)
      else accountStep(answer, email)
    } else if (answer.resendInSeconds !== undefined) resendAt = Date.now() + answer.resendInSeconds * 1000
    if (error === undefined) return
    const text = sentence(error.code, error.seconds)
    if (stays && onError?.(error.code, text)) return say('')
    const needsDetail = !(error.code in texts.errors) || /^(STORE|NOT_STORED|BINARY|INVALID_ARGUMENT)/.test(error.code)
    say(text, 'danger', needsDetail ? error.message : '')
    if (!stays) heading.focus({ preventScroll: true })
  }

  /** @param {Answer} answer @param {string} [block] */
  async function doneStep(answer, block) {
    shown = 'done'
    show(texts.title)
    if (!isHomebridge) sessionStorage.removeItem(SESSION)
    // Also if the token was not stored: then only the dialogue's copy has it.
    const isSaved = answer.refreshToken === undefined || (await putIntoDialogue(answer.refreshToken, block))
    if (answer.error !== undefined) {
      say(
        sentence(answer.error.code),
        'danger',
        answer.error.code === 'NOT_STORED_TERMINAL' ? '' : answer.error.message,
      )
      return
    }
    if (!isHomebridge) return say(texts.done, 'success')
    const isNew = blocks.length === 0
    say(isNew ? texts.doneNewBlock : texts.doneHomebridge, 'success', '')
    if (!isSaved) live.append(element('p', {}, texts.notSaved))
    if (settings.schemaForm !== false) homebridge.showSchemaForm()
  }

  /**
   * Writes the token into the dialogue's copy of the block, which the Save button writes, and saves it.
   * @param {string} refreshToken
   * @param {string | undefined} block
   */
  async function putIntoDialogue(refreshToken, block) {
    try {
      const all = await homebridge.getPluginConfig()
      const own = all.filter((/** @type {any} */ one) => isOurs(one))
      const target = block === undefined ? own[0] : own.find((/** @type {any} */ one) => nameOf(one) === block)
      // Never into another block: two blocks would rotate one token.
      if (target === undefined && own.length > 0) return false
      if (target === undefined) all.push({ platform: settings.platform, name: settings.platform, refreshToken })
      else {
        target.refreshToken = refreshToken
        delete target.email
        delete target.password
      }
      await homebridge.updatePluginConfig(all)
      const late = new Promise((resolve) => setTimeout(resolve, SAVE_MS, 'late'))
      return (await Promise.race([homebridge.savePluginConfig(), late])) !== 'late'
    } catch {
      return false
    }
  }

  /** A block names its platform, or its plugin and its platform. @param {any} block */
  function isOurs(block) {
    const platform = block?.platform
    return (
      platform === undefined || platform === settings.platform || String(platform).endsWith(`.${settings.platform}`)
    )
  }

  // ---- the secret of the link

  /** @param {string} secret */
  async function exchange(secret) {
    // A phone may replace the dash with another one, which no header may contain.
    const plain = secret.replace(/[^0-9A-Za-z]/g, '')
    const response = await fetch('api/session', {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'x-ring-auth-secret': plain },
      body: '{}',
    })
    if (response.status === 403) return 'SECRET'
    if (response.status === 409) return 'SESSION'
    if (!response.ok) return 'UNEXPECTED'
    sessionStorage.setItem(SESSION, (await response.json()).session)
    return undefined
  }

  function secretStep() {
    const secret = field(texts.secret, {
      type: 'text',
      name: 'secret',
      autocomplete: 'off',
      autocapitalize: 'characters',
      spellcheck: 'false',
      maxlength: '40',
    })
    const form = element(
      'form',
      { class: 'ra-form', novalidate: true, 'aria-label': texts.secretTitle },
      secret.node,
      button(texts.secretSubmit, 'primary', 'submit'),
    )
    form.addEventListener('submit', (/** @type {Event} */ event) => {
      event.preventDefault()
      busily(form, async () => {
        if (secret.input.value.trim() === '') return blame(secret, texts.secretMissing)
        say('')
        const problem = await exchange(secret.input.value)
        if (problem === undefined) return void go(await ask('status'))
        if (problem === 'SECRET') blame(secret, sentence(problem))
        else say(sentence(problem), 'danger')
      }).catch(sayFailure)
    })
    show(texts.secretTitle, form)
    secret.input.focus({ preventScroll: true })
  }

  // ---- the beginning

  async function chooseLanguage() {
    const wanted = isHomebridge ? [await language()] : [...navigator.languages]
    const names = Object.keys(settings.table)
    const find = (/** @type {string} */ tag) => names.find((name) => name.toLowerCase() === tag.toLowerCase())
    const chosen =
      wanted.map((tag) => find(tag) ?? find(tag.split('-')[0] ?? '')).find((name) => name !== undefined) ?? 'en'
    texts = /** @type {Texts} */ (settings.table[chosen])
    const target = isHomebridge ? root : document.documentElement
    target.lang = chosen
    target.dir = RIGHT_TO_LEFT.includes(chosen.split('-')[0] ?? '') ? 'rtl' : 'ltr'
  }

  async function language() {
    try {
      return String(await homebridge.i18nCurrentLang())
    } catch {
      return navigator.language
    }
  }

  async function begin() {
    await chooseLanguage()
    root.append(heading, live, stage)
    if (isHomebridge) {
      root.append(element('style', {}, settings.style ?? ''))
      blocks = (await homebridge.getPluginConfig()).filter((/** @type {any} */ block) => isOurs(block))
      await go(await ask('status'))
      return
    }
    if (settings.needsSecret !== true) return go(await ask('status'))
    const secret = location.hash.slice(1)
    // The secret must not stay in the history, nor be used again when the page is loaded again.
    if (secret !== '') history.replaceState(null, '', location.pathname + location.search)
    if (sessionStorage.getItem(SESSION) !== null) {
      try {
        return await go(await ask('status'))
      } catch (error) {
        if (!(error instanceof Error && error.message === 'SESSION')) throw error
        sessionStorage.removeItem(SESSION)
      }
    }
    const problem = secret === '' ? 'none' : await exchange(secret)
    if (problem === undefined) return go(await ask('status'))
    secretStep()
    if (problem !== 'none') say(sentence(problem), 'danger')
  }

  begin().catch(sayFailure)
}
