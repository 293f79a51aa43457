// @ts-check
'use strict'

// Every sentence of the login page. The keys of `en` are the table's columns; `errors` has one sentence for each code.

const en = {
  title: 'Log in to Ring',
  intro: 'Your e-mail address and your password are sent to Ring and are not kept.',
  again: 'A Ring account is linked. If you log in again, the new login replaces it.',
  block: 'Block of the configuration',
  email: 'E-mail address',
  password: 'Password',
  show: 'Show password',
  hide: 'Hide password',
  showShort: 'Show',
  hideShort: 'Hide',
  submit: 'Log in',
  waiting: 'Waiting for Ring …',
  codeTitle: 'Enter the code',
  codeSms: 'Code that Ring sent to {destination} by text message',
  codeEmail: 'Code that Ring sent to {destination} by e-mail',
  codeTotp: 'Code from your authenticator app',
  codeUnknown: 'Code that Ring sent to you',
  codeSubmit: 'Continue',
  resend: 'Send another code',
  resendIn: 'Send another code (in {seconds} s)',
  resent: 'Ring has sent another code.',
  back: 'Use another account',
  sentBefore:
    'Ring sent a code to {destination} at {time}. That login ended when the page was closed. Do not ask for another code before {until}.',
  somewhere: 'you',
  done: 'You are logged in to Ring. You can close this page.',
  doneHomebridge: 'You are logged in to Ring. A running plugin continues by itself within 20 seconds.',
  doneNewBlock: 'You are logged in to Ring. The plugin was not configured before: restart Homebridge once.',
  notSaved: 'The login is stored. Homebridge did not confirm that it saved the settings: press Save.',
  secretTitle: 'Enter the code of the link',
  secret: 'The eight characters at the end of the link, such as K7QM-2XVD',
  secretSubmit: 'Open',
  emailMissing: 'Enter the e-mail address of your Ring account.',
  passwordMissing: 'Enter the password of your Ring account.',
  codeMissing: 'Enter the code.',
  secretMissing: 'Enter the eight characters.',
  errors: {
    INVALID_CREDENTIALS: 'Ring does not accept this e-mail address and password. Check both.',
    TWO_FACTOR_INVALID: 'The code is wrong or too old. Check it and try again.',
    TOO_MANY_TRIES: 'The code was wrong three times, so this login has ended. Log in again.',
    TWO_FACTOR_RATE_LIMITED: 'Ring has sent too many codes to this account. Wait ten minutes, then log in again.',
    RATE_LIMITED: 'Ring has received too many requests. Wait a few minutes, then try again.',
    BLOCKED: 'Ring blocks this network address or this device at present. Wait 15 minutes, then try again.',
    CLIENT_REJECTED: 'Ring refuses this program. Install a newer version of it.',
    SERVER_ERROR: 'Ring has a problem of its own. Try again in a few minutes.',
    NETWORK: 'Ring cannot be reached. Check the internet connection of the machine that runs this program.',
    TIMEOUT: 'Ring did not answer in time. Try again.',
    PROTOCOL: 'Ring gave an answer that this program does not understand. Try again later.',
    INVALID_ARGUMENT: 'This cannot be used. Check what you entered.',
    STORE: 'The login could not be stored, so Ring was not asked.',
    STORE_LOCKED: 'Another program holds the place where the login is stored. Try again in a minute.',
    NOT_STORED: 'The login worked, but it could not be stored.',
    NOT_STORED_TERMINAL: 'The login worked, but the token was not stored. It is in the terminal: keep it.',
    BUSY: 'A login is under way already. Wait until Ring has answered.',
    RESEND_TOO_SOON: 'Ring does not send another code yet. Wait {seconds} seconds.',
    TOO_MANY_CODES: 'Five codes were asked for, which is the limit. Start the login again later.',
    LOGIN_OVER: 'This login has ended. Log in again.',
    BINARY: 'ring-auth is not completely installed on this machine.',
    SECRET: 'These are not the characters at the end of the link.',
    SESSION: 'This link was used before. Start the login again in the terminal.',
    SERVER_GONE: 'The server of this page does not answer. If it has ended, start the login again.',
    UNEXPECTED: 'Something went wrong that was not expected. Try again.',
  },
}

/** @typedef {Omit<typeof en, 'errors'> & { errors: Record<string, string> }} Texts */

/** @type {Texts} */
const de = {
  title: 'Bei Ring anmelden',
  intro: 'E-Mail-Adresse und Passwort gehen an Ring und werden nicht gespeichert.',
  again: 'Ein Ring-Konto ist verknüpft. Eine neue Anmeldung ersetzt es.',
  block: 'Block der Konfiguration',
  email: 'E-Mail-Adresse',
  password: 'Passwort',
  show: 'Passwort anzeigen',
  hide: 'Passwort verbergen',
  showShort: 'Anzeigen',
  hideShort: 'Verbergen',
  submit: 'Anmelden',
  waiting: 'Warten auf Ring …',
  codeTitle: 'Code eingeben',
  codeSms: 'Code, den Ring per SMS an {destination} gesendet hat',
  codeEmail: 'Code, den Ring per E-Mail an {destination} gesendet hat',
  codeTotp: 'Code aus Ihrer Authenticator-App',
  codeUnknown: 'Code, den Ring Ihnen gesendet hat',
  codeSubmit: 'Weiter',
  resend: 'Neuen Code senden',
  resendIn: 'Neuen Code senden (in {seconds} s)',
  resent: 'Ring hat einen neuen Code gesendet.',
  back: 'Anderes Konto verwenden',
  sentBefore:
    'Ring hat um {time} einen Code an {destination} gesendet. Jene Anmeldung endete, als die Seite geschlossen wurde. Fordern Sie vor {until} keinen neuen an.',
  somewhere: 'Sie',
  done: 'Sie sind bei Ring angemeldet. Sie können diese Seite schließen.',
  doneHomebridge:
    'Sie sind bei Ring angemeldet. Ein laufendes Plugin macht innerhalb von 20 Sekunden von selbst weiter.',
  doneNewBlock:
    'Sie sind bei Ring angemeldet. Das Plugin war noch nicht eingerichtet: Starten Sie Homebridge einmal neu.',
  notSaved: 'Die Anmeldung ist gespeichert. Homebridge hat das Sichern nicht bestätigt: Drücken Sie auf Speichern.',
  secretTitle: 'Code des Links eingeben',
  secret: 'Die acht Zeichen am Ende des Links, zum Beispiel K7QM-2XVD',
  secretSubmit: 'Öffnen',
  emailMissing: 'Geben Sie die E-Mail-Adresse Ihres Ring-Kontos ein.',
  passwordMissing: 'Geben Sie das Passwort Ihres Ring-Kontos ein.',
  codeMissing: 'Geben Sie den Code ein.',
  secretMissing: 'Geben Sie die acht Zeichen ein.',
  errors: {
    INVALID_CREDENTIALS: 'Ring nimmt diese E-Mail-Adresse und dieses Passwort nicht an. Prüfen Sie beides.',
    TWO_FACTOR_INVALID: 'Der Code ist falsch oder zu alt. Prüfen Sie ihn und versuchen Sie es noch einmal.',
    TOO_MANY_TRIES: 'Der Code war dreimal falsch. Diese Anmeldung ist beendet. Melden Sie sich neu an.',
    TWO_FACTOR_RATE_LIMITED:
      'Ring hat zu viele Codes an dieses Konto gesendet. Warten Sie zehn Minuten und melden Sie sich dann neu an.',
    RATE_LIMITED: 'Ring hat zu viele Anfragen erhalten. Warten Sie einige Minuten.',
    BLOCKED: 'Ring sperrt zurzeit diese Netzadresse oder dieses Gerät. Warten Sie 15 Minuten.',
    CLIENT_REJECTED: 'Ring lehnt dieses Programm ab. Installieren Sie eine neuere Version.',
    SERVER_ERROR: 'Ring hat selbst eine Störung. Versuchen Sie es in einigen Minuten noch einmal.',
    NETWORK:
      'Ring ist nicht erreichbar. Prüfen Sie die Internetverbindung des Rechners, auf dem dieses Programm läuft.',
    TIMEOUT: 'Ring hat nicht rechtzeitig geantwortet. Versuchen Sie es noch einmal.',
    PROTOCOL: 'Ring hat etwas geantwortet, das dieses Programm nicht versteht. Versuchen Sie es später noch einmal.',
    INVALID_ARGUMENT: 'Das lässt sich nicht verwenden. Prüfen Sie Ihre Eingabe.',
    STORE: 'Die Anmeldung ließe sich nicht speichern. Ring wurde nicht gefragt.',
    STORE_LOCKED:
      'Ein anderes Programm belegt den Speicherort der Anmeldung. Versuchen Sie es in einer Minute noch einmal.',
    NOT_STORED: 'Die Anmeldung gelang, ließ sich aber nicht speichern.',
    NOT_STORED_TERMINAL:
      'Die Anmeldung gelang, aber das Token wurde nicht gespeichert. Es steht im Terminal: Bewahren Sie es auf.',
    BUSY: 'Eine Anmeldung läuft bereits. Warten Sie, bis Ring geantwortet hat.',
    RESEND_TOO_SOON: 'Ring sendet noch keinen neuen Code. Warten Sie {seconds} Sekunden.',
    TOO_MANY_CODES: 'Es wurden fünf Codes angefordert, mehr sind nicht erlaubt. Beginnen Sie später von vorn.',
    LOGIN_OVER: 'Diese Anmeldung ist beendet. Melden Sie sich neu an.',
    BINARY: 'ring-auth ist auf diesem Rechner nicht vollständig installiert.',
    SECRET: 'Das sind nicht die Zeichen am Ende des Links.',
    SESSION: 'Dieser Link wurde schon benutzt. Starten Sie die Anmeldung im Terminal neu.',
    SERVER_GONE: 'Der Server dieser Seite antwortet nicht. Wenn er beendet ist, starten Sie die Anmeldung neu.',
    UNEXPECTED: 'Etwas Unerwartetes ist schiefgegangen. Versuchen Sie es noch einmal.',
  },
}

/** @type {Texts} */
const fr = {
  title: 'Se connecter à Ring',
  intro: 'Votre adresse e-mail et votre mot de passe sont envoyés à Ring et ne sont pas conservés.',
  again: 'Un compte Ring est associé. Une nouvelle connexion le remplace.',
  block: 'Bloc de la configuration',
  email: 'Adresse e-mail',
  password: 'Mot de passe',
  show: 'Afficher le mot de passe',
  hide: 'Masquer le mot de passe',
  showShort: 'Afficher',
  hideShort: 'Masquer',
  submit: 'Se connecter',
  waiting: 'En attente de Ring …',
  codeTitle: 'Saisir le code',
  codeSms: 'Code que Ring a envoyé par SMS au {destination}',
  codeEmail: 'Code que Ring a envoyé par e-mail à {destination}',
  codeTotp: 'Code de votre application d’authentification',
  codeUnknown: 'Code que Ring vous a envoyé',
  codeSubmit: 'Continuer',
  resend: 'Envoyer un autre code',
  resendIn: 'Envoyer un autre code (dans {seconds} s)',
  resent: 'Ring a envoyé un autre code.',
  back: 'Utiliser un autre compte',
  sentBefore:
    'Ring a envoyé un code à {destination} à {time}. Cette connexion a pris fin à la fermeture de la page. Ne demandez pas d’autre code avant {until}.',
  somewhere: 'vous',
  done: 'Vous êtes connecté à Ring. Vous pouvez fermer cette page.',
  doneHomebridge: 'Vous êtes connecté à Ring. Un plugin en marche continue seul dans les 20 secondes.',
  doneNewBlock: 'Vous êtes connecté à Ring. Le plugin n’était pas encore configuré : redémarrez Homebridge une fois.',
  notSaved: 'La connexion est enregistrée. Homebridge n’a pas confirmé l’enregistrement : appuyez sur Enregistrer.',
  secretTitle: 'Saisir le code du lien',
  secret: 'Les huit caractères à la fin du lien, par exemple K7QM-2XVD',
  secretSubmit: 'Ouvrir',
  emailMissing: 'Saisissez l’adresse e-mail de votre compte Ring.',
  passwordMissing: 'Saisissez le mot de passe de votre compte Ring.',
  codeMissing: 'Saisissez le code.',
  secretMissing: 'Saisissez les huit caractères.',
  errors: {
    INVALID_CREDENTIALS: 'Ring n’accepte pas cette adresse e-mail et ce mot de passe. Vérifiez les deux.',
    TWO_FACTOR_INVALID: 'Le code est faux ou trop ancien. Vérifiez-le et réessayez.',
    TOO_MANY_TRIES: 'Le code était faux trois fois : cette connexion est terminée. Connectez-vous à nouveau.',
    TWO_FACTOR_RATE_LIMITED:
      'Ring a envoyé trop de codes à ce compte. Attendez dix minutes, puis connectez-vous à nouveau.',
    RATE_LIMITED: 'Ring a reçu trop de demandes. Attendez quelques minutes.',
    BLOCKED: 'Ring bloque actuellement cette adresse réseau ou cet appareil. Attendez 15 minutes.',
    CLIENT_REJECTED: 'Ring refuse ce programme. Installez une version plus récente.',
    SERVER_ERROR: 'Ring a lui-même un problème. Réessayez dans quelques minutes.',
    NETWORK: 'Ring est injoignable. Vérifiez la connexion internet de la machine qui exécute ce programme.',
    TIMEOUT: 'Ring n’a pas répondu à temps. Réessayez.',
    PROTOCOL: 'Ring a donné une réponse que ce programme ne comprend pas. Réessayez plus tard.',
    INVALID_ARGUMENT: 'Ceci est inutilisable. Vérifiez votre saisie.',
    STORE: 'La connexion ne pourrait pas être enregistrée. Ring n’a pas été contacté.',
    STORE_LOCKED: 'Un autre programme occupe l’emplacement d’enregistrement. Réessayez dans une minute.',
    NOT_STORED: 'La connexion a réussi, mais n’a pas pu être enregistrée.',
    NOT_STORED_TERMINAL:
      'La connexion a réussi, mais le jeton n’a pas été enregistré. Il est dans le terminal : conservez-le.',
    BUSY: 'Une connexion est déjà en cours. Attendez la réponse de Ring.',
    RESEND_TOO_SOON: 'Ring n’envoie pas encore d’autre code. Attendez {seconds} secondes.',
    TOO_MANY_CODES: 'Cinq codes ont été demandés, c’est la limite. Recommencez plus tard.',
    LOGIN_OVER: 'Cette connexion est terminée. Connectez-vous à nouveau.',
    BINARY: 'ring-auth n’est pas complètement installé sur cette machine.',
    SECRET: 'Ce ne sont pas les caractères à la fin du lien.',
    SESSION: 'Ce lien a déjà servi. Relancez la connexion dans le terminal.',
    SERVER_GONE: 'Le serveur de cette page ne répond pas. S’il est arrêté, relancez la connexion.',
    UNEXPECTED: 'Un problème inattendu est survenu. Réessayez.',
  },
}

/** @type {Texts} */
const es = {
  title: 'Iniciar sesión en Ring',
  intro: 'Tu correo electrónico y tu contraseña se envían a Ring y no se guardan.',
  again: 'Hay una cuenta de Ring vinculada. Un nuevo inicio de sesión la sustituye.',
  block: 'Bloque de la configuración',
  email: 'Correo electrónico',
  password: 'Contraseña',
  show: 'Mostrar la contraseña',
  hide: 'Ocultar la contraseña',
  showShort: 'Mostrar',
  hideShort: 'Ocultar',
  submit: 'Iniciar sesión',
  waiting: 'Esperando a Ring …',
  codeTitle: 'Introduce el código',
  codeSms: 'Código que Ring ha enviado por SMS a {destination}',
  codeEmail: 'Código que Ring ha enviado por correo a {destination}',
  codeTotp: 'Código de tu aplicación de autenticación',
  codeUnknown: 'Código que Ring te ha enviado',
  codeSubmit: 'Continuar',
  resend: 'Enviar otro código',
  resendIn: 'Enviar otro código (en {seconds} s)',
  resent: 'Ring ha enviado otro código.',
  back: 'Usar otra cuenta',
  sentBefore:
    'Ring envió un código a {destination} a las {time}. Aquel inicio de sesión terminó al cerrar la página. No pidas otro código antes de las {until}.',
  somewhere: 'ti',
  done: 'Has iniciado sesión en Ring. Puedes cerrar esta página.',
  doneHomebridge: 'Has iniciado sesión en Ring. Un plugin en marcha continúa solo en 20 segundos.',
  doneNewBlock: 'Has iniciado sesión en Ring. El plugin aún no estaba configurado: reinicia Homebridge una vez.',
  notSaved: 'El inicio de sesión está guardado. Homebridge no ha confirmado el guardado: pulsa Guardar.',
  secretTitle: 'Introduce el código del enlace',
  secret: 'Los ocho caracteres al final del enlace, por ejemplo K7QM-2XVD',
  secretSubmit: 'Abrir',
  emailMissing: 'Introduce el correo electrónico de tu cuenta de Ring.',
  passwordMissing: 'Introduce la contraseña de tu cuenta de Ring.',
  codeMissing: 'Introduce el código.',
  secretMissing: 'Introduce los ocho caracteres.',
  errors: {
    INVALID_CREDENTIALS: 'Ring no acepta este correo y esta contraseña. Revisa ambos.',
    TWO_FACTOR_INVALID: 'El código es incorrecto o demasiado antiguo. Revísalo e inténtalo de nuevo.',
    TOO_MANY_TRIES: 'El código fue incorrecto tres veces y este inicio de sesión ha terminado. Inicia sesión de nuevo.',
    TWO_FACTOR_RATE_LIMITED:
      'Ring ha enviado demasiados códigos a esta cuenta. Espera diez minutos e inicia sesión de nuevo.',
    RATE_LIMITED: 'Ring ha recibido demasiadas peticiones. Espera unos minutos.',
    BLOCKED: 'Ring bloquea ahora esta dirección de red o este dispositivo. Espera 15 minutos.',
    CLIENT_REJECTED: 'Ring rechaza este programa. Instala una versión más nueva.',
    SERVER_ERROR: 'Ring tiene un problema propio. Inténtalo de nuevo en unos minutos.',
    NETWORK: 'No se puede contactar con Ring. Revisa la conexión a internet de la máquina que ejecuta este programa.',
    TIMEOUT: 'Ring no ha respondido a tiempo. Inténtalo de nuevo.',
    PROTOCOL: 'Ring ha dado una respuesta que este programa no entiende. Inténtalo más tarde.',
    INVALID_ARGUMENT: 'Esto no se puede usar. Revisa lo que has introducido.',
    STORE: 'El inicio de sesión no se podría guardar. No se ha preguntado a Ring.',
    STORE_LOCKED: 'Otro programa ocupa el lugar donde se guarda. Inténtalo de nuevo en un minuto.',
    NOT_STORED: 'El inicio de sesión funcionó, pero no se pudo guardar.',
    NOT_STORED_TERMINAL: 'El inicio de sesión funcionó, pero el token no se guardó. Está en el terminal: consérvalo.',
    BUSY: 'Ya hay un inicio de sesión en curso. Espera la respuesta de Ring.',
    RESEND_TOO_SOON: 'Ring aún no envía otro código. Espera {seconds} segundos.',
    TOO_MANY_CODES: 'Se han pedido cinco códigos, que es el límite. Empieza de nuevo más tarde.',
    LOGIN_OVER: 'Este inicio de sesión ha terminado. Inicia sesión de nuevo.',
    BINARY: 'ring-auth no está instalado por completo en esta máquina.',
    SECRET: 'Estos no son los caracteres al final del enlace.',
    SESSION: 'Este enlace ya se ha usado. Inicia la sesión de nuevo en el terminal.',
    SERVER_GONE: 'El servidor de esta página no responde. Si ha terminado, empieza de nuevo.',
    UNEXPECTED: 'Ha ocurrido algo inesperado. Inténtalo de nuevo.',
  },
}

/** @type {Texts} */
const nl = {
  title: 'Inloggen bij Ring',
  intro: 'Je e-mailadres en wachtwoord gaan naar Ring en worden niet bewaard.',
  again: 'Er is een Ring-account gekoppeld. Een nieuwe login vervangt het.',
  block: 'Blok van de configuratie',
  email: 'E-mailadres',
  password: 'Wachtwoord',
  show: 'Wachtwoord tonen',
  hide: 'Wachtwoord verbergen',
  showShort: 'Tonen',
  hideShort: 'Verbergen',
  submit: 'Inloggen',
  waiting: 'Wachten op Ring …',
  codeTitle: 'Voer de code in',
  codeSms: 'Code die Ring per sms naar {destination} heeft gestuurd',
  codeEmail: 'Code die Ring per e-mail naar {destination} heeft gestuurd',
  codeTotp: 'Code uit je authenticator-app',
  codeUnknown: 'Code die Ring je heeft gestuurd',
  codeSubmit: 'Doorgaan',
  resend: 'Nieuwe code sturen',
  resendIn: 'Nieuwe code sturen (over {seconds} s)',
  resent: 'Ring heeft een nieuwe code gestuurd.',
  back: 'Ander account gebruiken',
  sentBefore:
    'Ring heeft om {time} een code naar {destination} gestuurd. Die login eindigde toen de pagina werd gesloten. Vraag vóór {until} geen nieuwe code aan.',
  somewhere: 'jou',
  done: 'Je bent ingelogd bij Ring. Je kunt deze pagina sluiten.',
  doneHomebridge: 'Je bent ingelogd bij Ring. Een draaiende plug-in gaat binnen 20 seconden vanzelf verder.',
  doneNewBlock: 'Je bent ingelogd bij Ring. De plug-in was nog niet ingesteld: herstart Homebridge één keer.',
  notSaved: 'De login is bewaard. Homebridge heeft het opslaan niet bevestigd: druk op Opslaan.',
  secretTitle: 'Voer de code van de link in',
  secret: 'De acht tekens aan het einde van de link, bijvoorbeeld K7QM-2XVD',
  secretSubmit: 'Openen',
  emailMissing: 'Voer het e-mailadres van je Ring-account in.',
  passwordMissing: 'Voer het wachtwoord van je Ring-account in.',
  codeMissing: 'Voer de code in.',
  secretMissing: 'Voer de acht tekens in.',
  errors: {
    INVALID_CREDENTIALS: 'Ring accepteert dit e-mailadres en wachtwoord niet. Controleer beide.',
    TWO_FACTOR_INVALID: 'De code is onjuist of te oud. Controleer hem en probeer het opnieuw.',
    TOO_MANY_TRIES: 'De code was drie keer onjuist, deze login is beëindigd. Log opnieuw in.',
    TWO_FACTOR_RATE_LIMITED:
      'Ring heeft te veel codes naar dit account gestuurd. Wacht tien minuten en log opnieuw in.',
    RATE_LIMITED: 'Ring heeft te veel verzoeken gekregen. Wacht een paar minuten.',
    BLOCKED: 'Ring blokkeert dit netwerkadres of dit apparaat op dit moment. Wacht 15 minuten.',
    CLIENT_REJECTED: 'Ring weigert dit programma. Installeer een nieuwere versie.',
    SERVER_ERROR: 'Ring heeft zelf een storing. Probeer het over een paar minuten opnieuw.',
    NETWORK: 'Ring is niet bereikbaar. Controleer de internetverbinding van de machine waarop dit programma draait.',
    TIMEOUT: 'Ring heeft niet op tijd geantwoord. Probeer het opnieuw.',
    PROTOCOL: 'Ring gaf een antwoord dat dit programma niet begrijpt. Probeer het later opnieuw.',
    INVALID_ARGUMENT: 'Dit kan niet worden gebruikt. Controleer je invoer.',
    STORE: 'De login zou niet bewaard kunnen worden. Ring is niet gevraagd.',
    STORE_LOCKED: 'Een ander programma houdt de bewaarplaats bezet. Probeer het over een minuut opnieuw.',
    NOT_STORED: 'De login is gelukt, maar kon niet worden bewaard.',
    NOT_STORED_TERMINAL: 'De login is gelukt, maar het token is niet bewaard. Het staat in de terminal: bewaar het.',
    BUSY: 'Er is al een login bezig. Wacht tot Ring heeft geantwoord.',
    RESEND_TOO_SOON: 'Ring stuurt nog geen nieuwe code. Wacht {seconds} seconden.',
    TOO_MANY_CODES: 'Er zijn vijf codes aangevraagd, dat is de grens. Begin later opnieuw.',
    LOGIN_OVER: 'Deze login is beëindigd. Log opnieuw in.',
    BINARY: 'ring-auth is op deze machine niet volledig geïnstalleerd.',
    SECRET: 'Dit zijn niet de tekens aan het einde van de link.',
    SESSION: 'Deze link is al gebruikt. Start de login opnieuw in de terminal.',
    SERVER_GONE: 'De server van deze pagina antwoordt niet. Als hij gestopt is, start de login dan opnieuw.',
    UNEXPECTED: 'Er ging iets onverwachts mis. Probeer het opnieuw.',
  },
}

/** @type {Record<string, Texts>} */
const TEXTS = { en, de, fr, es, nl }

/**
 * The table, with a program's own sentences in it. A sentence that a language does not have is the English one.
 * @param {Record<string, Partial<Texts>>} [own]
 * @returns {Record<string, Texts>}
 */
function textsWith(own = {}) {
  const table = { ...TEXTS }
  for (const [language, texts] of Object.entries(own)) {
    const base = table[language] ?? en
    table[language] = { ...base, ...texts, errors: { ...base.errors, ...texts.errors } }
  }
  return table
}

/**
 * The first language of a list that the table has: `de-AT` is served `de`.
 * @param {Record<string, Texts>} table
 * @param {string | undefined} accepted As the header `Accept-Language` has it.
 */
function languageOf(table, accepted) {
  const wanted = String(accepted ?? '')
    .split(',')
    .map((part) => {
      const [tag = '', ...parameters] = part.trim().toLowerCase().split(';')
      const quality = parameters.map((parameter) => /^\s*q=([\d.]+)/.exec(parameter)?.[1]).find(Boolean)
      return { tag: tag.trim(), quality: quality === undefined ? 1 : Number(quality) }
    })
    .filter(({ quality }) => quality > 0)
    .sort((a, b) => b.quality - a.quality)
  for (const { tag } of wanted) {
    for (const name of [tag, tag.split('-')[0] ?? '']) {
      const found = Object.keys(table).find((language) => language.toLowerCase() === name)
      if (found !== undefined) return found
    }
  }
  return 'en'
}

module.exports = { TEXTS, languageOf, textsWith }
