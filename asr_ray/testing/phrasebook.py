"""What the synthetic speakers say: one small grammar of everyday sentences per locale.

A grammar is data: templates with named slots, and the fillers of each slot, which may name slots
themselves. `{number}` inside a template stands for every filler of `number` in turn; an optional
part is a slot with "" among its fillers. What a grammar says is the set of all its expansions:

    slots:     number = two | {tens}-one      tens = twenty | thirty
    template:  Wait {number} minutes.
    sentences: Wait two minutes.  Wait twenty-one minutes.  Wait thirty-one minutes.

What a linguist should know before changing one:

* At most some 60 word forms per locale, so that a model of a million parameters learns the locale
  from an hour of speech; hence fixed carrier phrases, and numbers that make many values of few words.
* Where a language inflects around numbers, the carrier asks for one form only: "metres" after
  five or more in Slovenian (genitive plural), the singular after twenty or more in Maltese.
* A greeting is a sentence of its own where a command follows, so that most words are written in one
  case only: each cased form is a word that the model has to learn.
* A sentence names its addressee once: `address` and `closing` end those that do not begin with
  `{name}` or `{hail}`.
* Content words that differ in one sound only are left out (English: no "light" beside "right", no
  "turn off" beside "turn on"), and so are near rhymes among the numbers, where the language allows.
* Case, accents and punctuation are those of a careful writer: "¿Dónde ...?" in Spanish, the
  Greek question mark ";" (U+003B, as Unicode normalisation leaves it).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Grammar:
    """Templates, and what may stand in their slots.

    Attributes:
        locale: BCP-47 tag such as `el-GR`.
        slots: slot name -> fillers; a filler may hold slots, never itself again.
        templates: sentences with slots; each is drawn about equally often, however much it expands to.
    """

    locale: str
    slots: Mapping[str, tuple[str, ...]]
    templates: tuple[str, ...]


_EN_US = Grammar(
    locale="en-US",
    slots={
        "name": ("Anna", "Peter", "Maria"),
        "greeting": ("Good morning", "Good evening", "Hello", "Thank you"),
        "hail": ("{greeting}", "{greeting}, {name}"),
        "room": ("kitchen", "bedroom", "basement"),
        "device": ("lamp", "radio", "music"),
        "switch": ("Turn on", "Switch off"),
        "opening": ("window", "door"),
        "please": ("", ", please"),
        "address": ("", ", {name}"),
        "closing": ("{please}", ", {name}"),
        "tomorrow": ("", " tomorrow"),
        "side": ("left", "right"),
        "vehicle": ("train", "bus"),
        "ware": ("ticket", "bag"),
        "unit": ("two", "three", "four", "five", "six", "seven", "eight"),
        "tens": ("twenty", "fifty"),
        "number": ("{unit}", "ten", "{tens}", "{tens}-one", "{tens}-{unit}"),
        "temperature": ("fifty", "fifty-one", "fifty-{unit}"),
        "minutes": ("", " ten", " twenty", " fifty"),
        "time": ("{unit}{minutes}", "ten{minutes}"),
    },
    templates=(
        "{greeting}, {name}.",
        "{hail}, the {vehicle} leaves at {time}.",
        "{hail}. {switch} the {device}{please}.",
        "{switch} the {device} in the {room}{closing}.",
        "{greeting}. {switch} the {device} in the {room}{please}.",
        "Open the {opening}{closing}.",
        "{hail}. Open the {room} {opening}{please}.",
        "Keep the {room} at {temperature} degrees{closing}.",
        "Turn {side} after {number} miles{closing}.",
        "After {number} miles, turn {side}{closing}.",
        "The {vehicle} leaves{tomorrow} at {time}{address}.",
        "{name}, the {vehicle} leaves{tomorrow} at {time}.",
        "The {ware} costs {number} dollars{address}.",
        "{name}, the {ware} costs {number} dollars.",
        "Wake me{tomorrow} at {time}{closing}.",
        "{hail}, how much is the {ware}?",
        "Is the {device} on in the {room}{address}?",
        "Is the {room} {opening} open{address}?",
    ),
)

_ES_ES = Grammar(
    locale="es-ES",
    slots={
        "name": ("Ana", "Pedro", "Lucía"),
        "greeting": ("Buenos días", "Buenas tardes", "Hola", "Gracias"),
        "hail": ("{greeting}", "{greeting}, {name}"),
        "room": ("cocina", "terraza", "habitación"),
        "device": ("lámpara", "radio"),
        "switch": ("Enciende", "Apaga"),
        "opening": ("ventana", "puerta"),
        "open": ("Abre", "Cierra"),
        "please": ("", ", por favor"),
        "address": ("", ", {name}"),
        "closing": ("{please}", ", {name}"),
        "tomorrow": ("", " mañana"),
        "side": ("derecha", "izquierda"),
        "vehicle": ("tren", "autobús"),
        "ware": ("libro", "billete"),
        "unit": ("dos", "tres", "cuatro", "cinco", "siete", "ocho", "nueve"),
        "tens": ("treinta", "cuarenta"),
        # Between 21 and 29 Spanish writes one word, so compounds begin at thirty.
        "number": ("{unit}", "diez", "veinte", "{tens}", "{tens} y {unit}"),
        "time": ("{unit}", "{unit} y diez", "{unit} y veinte", "{unit} y media", "diez", "diez y veinte"),
    },
    templates=(
        "{greeting}, {name}.",
        "{hail}, el {vehicle} sale a las {time}.",
        "{hail}. {switch} la {device}{please}.",
        "{switch} la {device} de la {room}{closing}.",
        "{greeting}. {switch} la {device} de la {room}{please}.",
        "{open} la {opening} de la {room}{closing}.",
        "Pon el volumen al {number}{closing}.",
        "{name}, pon el volumen al {number}.",
        "Gira a la {side} en {number} metros{closing}.",
        "En {number} metros, gira a la {side}{address}.",
        "El {vehicle} sale{tomorrow} a las {time}{address}.",
        "{name}, el {vehicle} sale a las {time}.",
        "El {ware} cuesta {number} euros{address}.",
        "{name}, el {ware} cuesta {number} euros.",
        "{hail}, el {ware} cuesta {number} euros.",
        "Despiértame{tomorrow} a las {time}{closing}.",
        "{hail}, ¿dónde está el {ware}?",
        "¿Sale el {vehicle}{tomorrow} a las {time}{address}?",
    ),
)

_EL_GR = Grammar(
    locale="el-GR",
    slots={
        "name": ("Άννα", "Μαρία", "Νίκο"),  # vocative
        "greeting": ("Καλημέρα", "Γεια σου", "Ευχαριστώ"),
        "hail": ("{greeting}", "{greeting}, {name}"),
        "room": ("κουζίνα", "αυλή", "τραπεζαρία"),
        "object": ("το φως", "το ραδιόφωνο", "το παράθυρο", "την πόρτα", "την τηλεόραση"),
        "open": ("Άνοιξε", "Κλείσε"),  # also the everyday words for switching on and off
        "please": ("", ", παρακαλώ"),
        "address": ("", ", {name}"),
        "closing": ("{please}", ", {name}"),
        "tomorrow": ("", " αύριο"),
        "side": ("δεξιά", "αριστερά"),
        "vehicle": ("τρένο", "λεωφορείο"),
        "ware": ("εισιτήριο", "βιβλίο"),
        "unit": ("δύο", "τρία", "τέσσερα", "πέντε", "έξι", "επτά", "οκτώ"),
        "tens": ("είκοσι", "τριάντα"),
        "number": ("{unit}", "δέκα", "{tens}", "{tens} {unit}"),
        # Hours are feminine; three and four would need forms of their own.
        "hour": ("δύο", "πέντε", "έξι", "επτά", "οκτώ", "δέκα"),
        "time": ("{hour}", "{hour} και δέκα", "{hour} και είκοσι", "{hour} και μισή"),
    },
    templates=(
        "{greeting}, {name}.",
        "{hail}, το {vehicle} φεύγει στις {time}.",
        "{hail}. {open} {object}{please}.",
        "{open} {object} στην {room}{closing}.",
        "{greeting}. {open} {object} στην {room}{please}.",
        "Βάλε την ένταση στο {number}{closing}.",
        "{name}, βάλε την ένταση στο {number}.",
        "Στρίψε {side} σε {number} μέτρα{closing}.",
        "Σε {number} μέτρα, στρίψε {side}{closing}.",
        "Το {vehicle} φεύγει{tomorrow} στις {time}{address}.",
        "{name}, το {vehicle} φεύγει{tomorrow} στις {time}.",
        "Το {ware} κοστίζει {number} ευρώ{address}.",
        "{name}, το {ware} κοστίζει {number} ευρώ.",
        "Ξύπνησέ με{tomorrow} στις {time}{closing}.",
        "{hail}, πού είναι το {ware};",
        "Φεύγει το {vehicle}{tomorrow} στις {time}{address};",
    ),
)

_BG_BG = Grammar(
    locale="bg-BG",
    slots={
        "name": ("Мария", "Елена", "Георги"),
        "greeting": ("Добър ден", "Добър вечер", "Здравей", "Благодаря"),
        "hail": ("{greeting}", "{greeting}, {name}"),
        "room": ("кухнята", "градината", "хола"),
        "device": ("лампата", "радиото", "музиката"),
        "switch": ("Пусни", "Изключи"),
        "opening": ("прозореца", "вратата"),
        "please": ("", ", моля"),
        "address": ("", ", {name}"),
        "closing": ("{please}", ", {name}"),
        "tomorrow": ("", " утре"),
        "side": ("наляво", "надясно"),
        "vehicle": ("влакът", "автобусът"),
        "ware": ("билетът", "книгата"),
        # Masculine, for metres, leva, hours and percent; after numbers these take the count form.
        "unit": ("два", "три", "четири", "пет", "седем"),
        "tens": ("двадесет", "тридесет"),
        "number": ("{unit}", "десет", "{tens}", "{tens} и {unit}"),
        "time": ("{unit}", "{unit} и {tens}", "{unit} и половина", "десет", "десет и {tens}"),
    },
    templates=(
        "{greeting}, {name}.",
        "{hail}, {vehicle} тръгва в {time}.",
        "{hail}. {switch} {device}{please}.",
        "{switch} {device} в {room}{closing}.",
        "{greeting}. {switch} {device} в {room}{please}.",
        "Отвори {opening} в {room}{closing}.",
        "{hail}. Отвори {opening}{please}.",
        "Намали звука до {number} процента{closing}.",
        "{name}, намали звука до {number} процента.",
        "Завий {side} след {number} метра{closing}.",
        "След {number} метра завий {side}{closing}.",
        "Утре {vehicle} тръгва в {time}{address}.",
        "{name}, {vehicle} тръгва{tomorrow} в {time}.",
        "Тук {ware} струва {number} лева{address}.",
        "{name}, {ware} струва {number} лева.",
        "{greeting}, {ware} струва {number} лева.",
        "Събуди ме{tomorrow} в {time}{closing}.",
        "{hail}, къде е {ware}?",
        "Тръгва ли {vehicle}{tomorrow} в {time}{address}?",
    ),
)

_SL_SI = Grammar(
    locale="sl-SI",
    slots={
        "name": ("Ana", "Marko", "Nina"),
        "greeting": ("Dober dan", "Dober večer", "Hvala"),
        "hail": ("{greeting}", "{greeting}, {name}"),
        "room": ("kuhinji", "sobi", "garaži"),
        "device": ("luč", "radio", "televizor"),
        "switch": ("Prižgi", "Ugasni"),
        "switch_lower": ("prižgi", "ugasni"),
        "opening": ("okno", "vrata"),
        "open": ("Odpri", "Zapri"),
        "please": ("", ", prosim"),
        "address": ("", ", {name}"),
        "closing": ("{please}", ", {name}"),
        "tomorrow": ("", " jutri"),
        "side": ("levo", "desno"),
        "vehicle": ("Vlak", "Avtobus"),
        "vehicle_lower": ("vlak", "avtobus"),
        "ware": ("Vozovnica", "Torba"),
        "ware_lower": ("vozovnica", "torba"),
        # Five and more, whose last part takes the genitive plural (metrov, evrov); 25 is one word.
        "small": ("pet", "sedem", "deset", "petnajst"),
        "compound": ("petindvajset", "sedemindvajset", "petintrideset", "sedemintrideset"),
        "below_hundred": ("{small}", "dvajset", "trideset", "{compound}"),
        "number": ("{below_hundred}", "sto", "sto {below_hundred}"),
        "hour": ("petih", "sedmih", "desetih"),  # locative after "ob"
        "time": ("{hour}", "pol {hour}", "{hour} in deset minut", "{hour} in dvajset minut"),
    },
    templates=(
        "{greeting}, {name}.",
        "{hail}, {vehicle_lower} odpelje ob {time}.",
        "{hail}, {switch_lower} {device}{please}.",
        "{switch} {device} v {room}{closing}.",
        "{name}, {switch_lower} {device} v {room}{please}.",
        "{open} {opening} v {room}{closing}.",
        "Nastavi glasnost na {below_hundred}{closing}.",
        "{name}, nastavi glasnost na {below_hundred}{please}.",
        "{switch} {device} čez {below_hundred} minut{closing}.",
        "Zavij {side} čez {number} metrov{closing}.",
        "Čez {number} metrov zavij {side}{closing}.",
        "{vehicle} odpelje{tomorrow} ob {time}{address}.",
        "{name}, {vehicle_lower} odpelje{tomorrow} ob {time}.",
        "{ware} stane {number} evrov{address}.",
        "{name}, {ware_lower} stane {number} evrov.",
        "{hail}, {ware_lower} stane {below_hundred} evrov.",
        "Zbudi me{tomorrow} ob {time}{closing}.",
        "{hail}, kje je {ware_lower}?",
        "Ali {vehicle_lower} odpelje{tomorrow} ob {time}{address}?",
    ),
)

_MT_MT = Grammar(
    locale="mt-MT",
    slots={
        "name": ("Marija", "Pawlu", "Anna"),
        "greeting": ("Bonġu", "Bonswa", "Grazzi"),
        "hail": ("{greeting}", "{greeting}, {name}"),
        "room": ("fil-kċina", "fil-ġnien"),
        # The article meets its noun (id-dawl) and loses its vowel after one (itfi d-dawl).
        "switch": ("Ixgħel id-dawl", "Ixgħel ir-radju", "Itfi d-dawl", "Itfi r-radju"),
        "switch_lower": ("ixgħel id-dawl", "ixgħel ir-radju", "itfi d-dawl", "itfi r-radju"),
        "opening": ("it-tieqa", "il-bieb"),
        "open": ("Iftaħ", "Agħlaq"),
        "please": ("", ", jekk jogħġbok"),
        "address": ("", ", {name}"),
        "closing": ("{please}", ", {name}"),
        "tomorrow": ("", " għada"),
        "side": ("lejn ix-xellug", "lejn il-lemin"),
        "vehicle": ("Il-vapur", "L-ajruplan"),
        "vehicle_lower": ("il-vapur", "l-ajruplan"),
        "ware": ("biljett", "ktieb"),
        "unit": ("tnejn", "tlieta", "ħamsa", "sebgħa", "tmienja"),
        "tens": ("għoxrin", "tletin", "ħamsin"),
        # From twenty on the noun stands in the singular (metru), and ewro never changes.
        "number": ("{tens}", "{unit} u {tens}"),
        "hour": ("fit-tlieta", "fil-ħamsa", "fis-sebgħa", "fit-tmienja"),
        "time": ("{hour}", "{hour} u nofs", "{hour} u ħamsa", "{hour} u għoxrin"),
    },
    templates=(
        "{greeting}, {name}.",
        "{hail}, {vehicle_lower} jitlaq {time}.",
        "{hail}, {switch_lower}{please}.",
        "{hail}, {switch_lower} {room}{please}.",
        "{switch} {room}{closing}.",
        "{name}, {switch_lower} {room}{please}.",
        "{open} {opening}{closing}.",
        "{open} {opening} {room}{closing}.",
        "Għolli l-volum sa {number}{closing}.",
        "{name}, għolli l-volum sa {number}{please}.",
        "Dur {side} wara {number} metru{closing}.",
        "Wara {number} metru, dur {side}{closing}.",
        "{vehicle} jitlaq{tomorrow} {time}{address}.",
        "{name}, {vehicle_lower} jitlaq{tomorrow} {time}.",
        "Il-{ware} jiswa {number} ewro{address}.",
        "{name}, il-{ware} jiswa {number} ewro.",
        "{hail}, il-{ware} jiswa {number} ewro.",
        "Qajjimni{tomorrow} {time}{closing}.",
        "{hail}, fejn hu l-{ware}?",
        "Fejn hu l-{ware}{address}?",
        "{switch} wara {number} minuta{closing}.",
    ),
)

GRAMMARS: Mapping[str, Grammar] = {g.locale: g for g in (_EN_US, _ES_ES, _EL_GR, _BG_BG, _SL_SI, _MT_MT)}
"""Every grammar there is, by locale."""
