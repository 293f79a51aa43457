/** Sentences of the login page. The page replaces `{destination}`, `{seconds}`, `{time}` and `{until}` by their values. */
export interface PageTexts {
  title?: string
  intro?: string
  again?: string
  block?: string
  email?: string
  password?: string
  show?: string
  hide?: string
  showShort?: string
  hideShort?: string
  submit?: string
  waiting?: string
  codeTitle?: string
  codeSms?: string
  codeEmail?: string
  codeTotp?: string
  codeUnknown?: string
  codeSubmit?: string
  resend?: string
  resendIn?: string
  resent?: string
  back?: string
  sentBefore?: string
  somewhere?: string
  done?: string
  doneHomebridge?: string
  doneNewBlock?: string
  notSaved?: string
  secretTitle?: string
  secret?: string
  secretSubmit?: string
  emailMissing?: string
  passwordMissing?: string
  codeMissing?: string
  secretMissing?: string
  /** Sentences by error code. */
  errors?: Record<string, string>
}
