"""Sentences of a small closed domain in Dutch and German: numbers, clock times, dates, places, shopping, commands.

A language is a dict of slots and a list of templates. A template's `{slot}` is replaced by one of that slot's values,
which may hold slots themselves; `{slot2}` is another value of the same slot. Everything is written in words, because a
recogniser hears no digits. Values are dealt like cards, reshuffled when all have been used, so that rare words are
about as frequent as their list is short: a very small model must learn every one of them.
"""

import random
import re
from collections.abc import Callable, Collection

NL_ONES = "nul één twee drie vier vijf zes zeven acht negen tien elf twaalf dertien veertien vijftien zestien zeventien"
NL_ONES = (NL_ONES + " achttien negentien").split()
NL_TENS = "twintig dertig veertig vijftig zestig zeventig tachtig negentig".split()

DE_ONES = "null eins zwei drei vier fünf sechs sieben acht neun zehn elf zwölf dreizehn vierzehn fünfzehn sechzehn"
DE_ONES = (DE_ONES + " siebzehn achtzehn neunzehn").split()
DE_TENS = "zwanzig dreißig vierzig fünfzig sechzig siebzig achtzig neunzig".split()


def dutch(n: int) -> str:
    """Cardinal from 0 to 100: 23 -> drieëntwintig (a trema where `en` follows an e), 31 -> eenendertig."""
    if n < 20:
        return NL_ONES[n]
    if n == 100:
        return "honderd"
    one, ten = n % 10, NL_TENS[n // 10 - 2]
    if one == 0:
        return ten
    return {1: "een", 2: "twee", 3: "drie"}.get(one, NL_ONES[one]) + ("ën" if one in (2, 3) else "en") + ten


def german(n: int) -> str:
    """Cardinal from 0 to 100: 21 -> einundzwanzig; a lone 1 is `eins`."""
    if n < 20:
        return DE_ONES[n]
    if n == 100:
        return "hundert"
    one, ten = n % 10, DE_TENS[n // 10 - 2]
    return ten if one == 0 else {1: "ein"}.get(one, DE_ONES[one]) + "und" + ten


def german_ordinal(n: int) -> str:
    """Ordinal from 1 to 31 as dates and floors take it (am dritten Mai, im dritten Stock)."""
    return {1: "ersten", 3: "dritten", 7: "siebten", 8: "achten"}.get(n, german(n) + ("sten" if n > 19 else "ten"))


# Every number up to 60 and then the tens: above 60 only the compounds' known halves would be repeated.
NUMBERS = [*range(1, 61), 70, 80, 90, 100]

NL_SLOTS = {
    "getal": [dutch(n) for n in NUMBERS],
    "meer": [dutch(n) for n in NUMBERS if n > 1],  # before a plural
    "aantal": [dutch(n) for n in range(2, 21)],
    "graden": [dutch(n) for n in range(2, 36)],
    "dagnummer": [dutch(n) for n in range(1, 32)],
    "uur": [dutch(n) for n in range(1, 13)],
    "klok": [
        "{uur} uur",
        "half {uur}",
        "kwart over {uur}",
        "kwart voor {uur}",
        "tien over {uur}",
        "tien voor {uur}",
        "vijf voor half {uur}",
        "vijf over half {uur}",
    ],
    "ordinaal": "eerste tweede derde vierde vijfde zesde zevende achtste negende tiende".split(),
    "dag": "maandag dinsdag woensdag donderdag vrijdag zaterdag zondag".split(),
    "maand": "januari februari maart april mei juni juli augustus september oktober november december".split(),
    "datum": ["{dagnummer} {maand}"],
    "dagdeel": ["'s ochtends", "'s middags", "'s avonds", "'s nachts"],
    "wanneer": "vandaag morgen overmorgen vanmiddag vanavond zondag".split(),
    "stad": (
        "Amsterdam Rotterdam Utrecht Groningen Maastricht Eindhoven Zwolle Leiden Delft Breda Arnhem Nijmegen Haarlem "
        "Antwerpen Gent Brugge Brussel Leuven Enschede Alkmaar"
    ).split(),
    "land": "België Italië Duitsland Frankrijk Spanje Griekenland Engeland Oostenrijk".split(),
    "straat": "Kerkstraat Dorpsstraat Schoolstraat Molenstraat Stationsstraat".split(),
    "kamer": [
        "in de keuken",
        "in de woonkamer",
        "in de slaapkamer",
        "in de badkamer",
        "in de gang",
        "in de garage",
        "in de kelder",
        "in de tuin",
        "op het balkon",
        "op zolder",
    ],
    "apparaat": [
        "de lamp",
        "het licht",
        "de verwarming",
        "de televisie",
        "de radio",
        "de oven",
        "de wasmachine",
        "de ventilator",
        "de computer",
        "de printer",
    ],
    "opening": ["de deur", "het raam", "de gordijnen", "de luiken", "de kast", "het hek"],
    "geluid": ["de radio", "de muziek", "het geluid"],
    "harder": ["harder", "zachter"],
    "vervoer": "trein bus tram taxi veerboot".split(),
    "richting": ["linksaf", "rechtsaf"],
    "plaats": [
        "het station",
        "de markt",
        "het ziekenhuis",
        "de apotheek",
        "de supermarkt",
        "het museum",
        "de bakker",
        "het strand",
        "de bibliotheek",
        "het café",
        "het zwembad",
        "de luchthaven",
    ],
    "open": ["open", "gesloten"],
    "persoon": [
        "mijn moeder",
        "mijn vader",
        "mijn zus",
        "mijn broer",
        "oma",
        "opa",
        "de buurman",
        "de buurvrouw",
        "Sanne",
        "Daan",
        "Emma",
        "Lucas",
    ],
    "dokter": ["de tandarts", "de dokter", "de kapper", "de notaris", "de monteur"],
    "taak": ["de was", "het vuilnis", "de boodschappen", "de planten", "de sleutels", "de reünie"],
    "programma": ["het nieuws", "de film", "de wedstrijd", "het concert", "de les"],
    "weer": "koud warm nat droog zonnig bewolkt winderig mistig".split(),
    "regent": "regent sneeuwt stormt vriest waait".split(),
    "waar": "melk brood kaas boter suiker zout rijst vlees vis soep".split(),
    "eten": "appels peren bananen eieren tomaten broodjes pizza's paprika's aardappelen uien".split(),
    "drank": "water bier wijn sap limonade cola".split(),
    "warm": ["koffie", "thee", "soep"],
    "kleur": "rode groene blauwe zwarte witte gele bruine grijze".split(),
    "kleding": "jas tas trui broek muts sjaal bril paraplu".split(),  # all take `de`
    "groot": "groot klein duur lang kort".split(),
}

NL_TEMPLATES = """
Zet {apparaat} {kamer} aan.
Zet {apparaat} {wanneer} uit.
Zet {apparaat} om {klok} uit.
Is {apparaat} {dagdeel} aan?
Is {apparaat} {kamer} kapot?
Doe {opening} {kamer} open.
Doe {opening} {kamer} dicht.
Is {opening} {kamer} open?
Zet de verwarming op {graden} graden.
Het is {kamer} {graden} graden.
Zet {geluid} {kamer} {harder}.
Speel {wanneer} muziek {kamer}.
Maak {persoon} om {klok} wakker.
Zet de wekker op {klok}.
Over {meer} minuten eten we {eten}.
Herinner me {dag} aan {taak}.
Vergeet {taak} {wanneer} niet.
Heeft {persoon} {taak} gezien?
Wanneer komt de {vervoer} naar {stad}?
De {vervoer} naar {stad} vertrekt {wanneer}.
De {vervoer} heeft {meer} minuten vertraging.
Naar {stad} vanaf spoor {uur}.
Welke {vervoer} gaat naar {plaats}?
De {vervoer} stopt bij {plaats}.
Ik neem de {vervoer} van {klok}.
Lijn {getal} rijdt {wanneer} niet.
Lijn {getal} gaat naar {stad}.
Ik wil {wanneer} naar {stad}.
{aantal} kaartjes naar {stad}, alstublieft.
Koop {wanneer} een kaartje naar {stad}.
Hoe ver is {stad} van {stad2}?
{stad} ligt {meer} kilometer verder.
De reis naar {stad} duurt {uur} uur.
Hoe kom ik {wanneer} in {stad}?
Sla bij {plaats} de {straat} in.
Sla over {getal} meter {richting}.
Rijd {getal} kilometer rechtdoor.
{plaats} ligt naast {plaats2}.
Is {plaats} {dag} open?
{plaats} is {dagdeel} {open}.
{plaats} sluit om {klok}.
Wij reizen in {maand} naar {land}.
Is het in {maand} {weer}?
Het is {weer} in {land}.
Reserveer {wanneer} een hotel in {stad}.
Reserveer {wanneer} een tafel voor {aantal}.
{dagdeel} is {stad} {weer}.
Wordt het {wanneer} {weer} in {stad}?
{wanneer} wordt het {graden} graden.
{regent} het {wanneer} in {stad}?
Het {regent} {dagdeel} in {land}.
Hoe warm is het {wanneer} in {stad}?
Het is nu {klok}.
De afspraak bij {dokter} is {dag}.
Ik ga {datum} naar {dokter}.
Verplaats de afspraak naar {datum}.
Wat doen we op {datum}?
Vandaag is het {dag} {datum}.
{programma} begint om {klok}.
Over {meer} minuten begint {programma}.
{persoon} is {datum} jarig.
{persoon} is {getal} jaar oud.
Bel {persoon} om {klok}.
Bel {persoon} {wanneer}, alsjeblieft.
Stuur {persoon} {wanneer} een bericht.
{persoon} stuurt {aantal} foto's.
Lees het {ordinaal} bericht van {persoon}.
Ik zie {persoon} om {klok}.
{persoon} komt met de {vervoer}.
{persoon} woont in de {straat}.
{persoon} woont op nummer {getal}.
{persoon} woont op de {ordinaal} verdieping.
De {straat} is de {ordinaal} straat {richting}.
Waar ligt mijn {kleur} {kleding}?
Ik zoek een {kleur} {kleding}.
Zo'n {kleding} kost {getal} euro.
De {kleur} {kleding} is te {groot}.
Mijn {kleding} is te {groot}.
Heeft {persoon} ook zo'n {kleding}?
Hoeveel kosten {aantal} {eten}?
Koop {aantal} {eten} en {waar}.
Zet {waar}, {waar2} en {waar3} erbij.
We hebben nog {aantal} {eten}.
Is er nog {waar} of {drank}?
{persoon} eet {eten} met {waar}.
{dagdeel} drinkt {persoon} {drank}.
{persoon} wil {warm} en {drank}.
Graag {warm} met {eten}.
{getal} plus {getal2} is {getal3}.
Hoeveel is {getal} min {getal2}?
{uur} keer {getal} is te veel.
Tel van {getal} tot {getal2}.
"""

DE_SLOTS = {
    "nummer": [german(n) for n in NUMBERS],
    "zahl": [german(n) for n in NUMBERS if n > 1],  # before a noun
    "anzahl": [german(n) for n in range(2, 21)],
    "grad": [german(n) for n in range(2, 36)],
    "stunde": [german(n) for n in range(1, 13)],
    "volle": ["ein", *(german(n) for n in range(2, 13))],
    "zeit": [
        "{volle} Uhr",
        "halb {stunde}",
        "Viertel nach {stunde}",
        "Viertel vor {stunde}",
        "zehn nach {stunde}",
        "zehn vor {stunde}",
        "fünf vor halb {stunde}",
        "fünf nach halb {stunde}",
    ],
    "tagesnummer": [german_ordinal(n) for n in range(1, 32)],
    "ordnung": [german_ordinal(n) for n in range(1, 11)],
    "tag": "Montag Dienstag Mittwoch Donnerstag Freitag Samstag Sonntag".split(),
    "monat": "Januar Februar März April Mai Juni Juli August September Oktober November Dezember".split(),
    "datum": ["{tagesnummer} {monat}"],
    "tageszeit": "morgens mittags abends nachts".split(),
    "wann": ["heute", "morgen", "übermorgen", "heute Abend", "morgen früh", "am Sonntag"],
    "stadt": (
        "Berlin Hamburg München Köln Frankfurt Stuttgart Düsseldorf Leipzig Dresden Nürnberg Bremen Hannover Würzburg "
        "Münster Lübeck Göttingen Zürich Wien Freiburg Bonn"
    ).split(),
    "land": "Österreich Belgien Frankreich Italien Spanien Griechenland Dänemark Rumänien".split(),
    "straße": "Hauptstraße Bahnhofstraße Gartenstraße Schulstraße Mühlenstraße".split(),
    "raum": [
        "in der Küche",
        "im Wohnzimmer",
        "im Schlafzimmer",
        "im Badezimmer",
        "im Flur",
        "in der Garage",
        "im Keller",
        "im Garten",
        "auf dem Balkon",
        "im Büro",
    ],
    "gerät": [
        "die Lampe",
        "das Licht",
        "die Heizung",
        "der Fernseher",
        "das Radio",
        "der Ofen",
        "die Waschmaschine",
        "der Ventilator",
        "der Computer",
        "der Drucker",
    ],
    "gerät_akkusativ": [
        "die Lampe",
        "das Licht",
        "die Heizung",
        "den Fernseher",
        "das Radio",
        "den Ofen",
        "die Waschmaschine",
        "den Ventilator",
        "den Computer",
        "den Drucker",
    ],
    "öffnung": ["die Tür", "das Fenster", "die Vorhänge", "die Rollläden", "den Schrank", "das Tor"],
    "klang": ["das Radio", "den Fernseher", "die Musik", "den Ton"],
    "lauter": ["lauter", "leiser"],
    "verkehr": ["der Zug", "der Bus", "das Taxi", "die Straßenbahn", "die Fähre"],
    "verkehr_dativ": ["dem Zug", "dem Bus", "dem Taxi", "der Straßenbahn", "der Fähre"],
    "verkehr_akkusativ": ["den Zug", "den Bus", "das Taxi", "die Straßenbahn", "die Fähre"],
    "links": ["links", "rechts"],
    "ort": [
        "der Bahnhof",
        "der Markt",
        "das Krankenhaus",
        "die Apotheke",
        "der Supermarkt",
        "das Museum",
        "die Bäckerei",
        "der Strand",
        "die Bücherei",
        "das Café",
        "das Schwimmbad",
        "der Flughafen",
    ],
    "am_ort": [
        "am Bahnhof",
        "am Markt",
        "am Krankenhaus",
        "an der Apotheke",
        "am Supermarkt",
        "am Museum",
        "an der Bäckerei",
        "am Strand",
        "an der Bücherei",
        "am Café",
        "am Schwimmbad",
        "am Flughafen",
    ],
    "zum_ort": [
        "zum Bahnhof",
        "zum Markt",
        "zum Krankenhaus",
        "zur Apotheke",
        "zum Supermarkt",
        "zum Museum",
        "zur Bäckerei",
        "zum Strand",
        "zur Bücherei",
        "zum Café",
        "zum Schwimmbad",
        "zum Flughafen",
    ],
    "offen": ["geöffnet", "geschlossen"],
    "person": [
        "meine Mutter",
        "mein Vater",
        "meine Schwester",
        "mein Bruder",
        "Oma",
        "Opa",
        "der Nachbar",
        "die Nachbarin",
        "Jürgen",
        "Anna",
        "Lukas",
        "Sabine",
    ],
    "person_dativ": [
        "meiner Mutter",
        "meinem Vater",
        "meiner Schwester",
        "meinem Bruder",
        "Oma",
        "Opa",
        "dem Nachbarn",
        "der Nachbarin",
        "Jürgen",
        "Anna",
        "Lukas",
        "Sabine",
    ],
    "person_akkusativ": [
        "meine Mutter",
        "meinen Vater",
        "meine Schwester",
        "meinen Bruder",
        "Oma",
        "Opa",
        "den Nachbarn",
        "die Nachbarin",
        "Jürgen",
        "Anna",
        "Lukas",
        "Sabine",
    ],
    "arzt": ["beim Zahnarzt", "beim Arzt", "beim Friseur", "beim Notar", "bei der Bank"],
    "aufgabe": ["die Wäsche", "den Müll", "den Einkauf", "die Blumen", "den Schlüssel", "die Prüfung"],
    "programm": ["der Film", "das Spiel", "das Konzert", "der Unterricht", "die Sendung"],
    "wetter": "kalt warm nass trocken sonnig bewölkt windig neblig".split(),
    "regnet": "regnet schneit stürmt hagelt friert".split(),
    "ware": "Milch Brot Käse Butter Zucker Salz Reis Fleisch Fisch Gemüse".split(),
    "essen": "Äpfel Birnen Bananen Eier Tomaten Brötchen Würste Nüsse Kartoffeln Zwiebeln".split(),
    "getränk": "Wasser Bier Wein Saft Limonade Cola".split(),
    "warmes": ["Kaffee", "Tee", "Suppe"],
    "farbe": "rote grüne blaue schwarze weiße gelbe braune graue".split(),
    "kleidung": "Jacke Tasche Hose Mütze Bluse Brille Krawatte Kette".split(),  # all feminine
    "groß": "groß klein teuer lang kurz".split(),
}

DE_TEMPLATES = """
Mach {gerät_akkusativ} {raum} an.
Mach {gerät_akkusativ} {wann} aus.
Schalte {gerät_akkusativ} um {zeit} aus.
Ist {gerät} {tageszeit} an?
Ist {gerät} {raum} kaputt?
Öffne {öffnung} {raum}.
Schließ {öffnung} {raum}.
Mach bitte {öffnung} {raum} zu.
Stell die Heizung auf {grad} Grad.
Es sind {grad} Grad {raum}.
Mach {klang} {raum} {lauter}.
Mach {klang} {tageszeit} {lauter}.
Spiel {wann} Musik {raum}.
Weck {person_akkusativ} um {zeit}.
Stell den Wecker auf {zeit}.
In {zahl} Minuten essen wir {essen}.
Erinnere mich am {tag} an {aufgabe}.
Vergiss {aufgabe} {wann} nicht.
Hat {person} {aufgabe} vergessen?
Wann fährt {verkehr} nach {stadt}?
{verkehr} fährt {wann} nach {stadt}.
{verkehr} hat {zahl} Minuten Verspätung.
Nach {stadt} von Gleis {nummer}.
Fährt {verkehr} auch {zum_ort}?
{verkehr} hält {am_ort}.
Ich nehme {verkehr_akkusativ} um {zeit}.
Die Linie {nummer} fährt {wann} nicht.
Die Linie {nummer} fährt nach {stadt}.
Ich möchte {wann} nach {stadt}.
{anzahl} Fahrkarten nach {stadt}, bitte.
Was kostet {wann} die Fahrt nach {stadt}?
Wie weit ist {stadt} von {stadt2}?
{stadt} ist {zahl} Kilometer weiter.
Die Reise nach {stadt} dauert {anzahl} Stunden.
Wie komme ich {wann} {zum_ort}?
Fahr {am_ort} in die {straße}.
Fahr nach {zahl} Metern {links}.
Fahr {zahl} Kilometer geradeaus.
{person} wartet {am_ort}.
Ist {ort} am {tag} geöffnet?
{ort} ist {tageszeit} {offen}.
{ort} schließt um {zeit}.
Wir reisen im {monat} nach {land}.
Ist es im {monat} {wetter}?
Es ist {wetter} in {land}.
Reserviere {wann} ein Hotel in {stadt}.
Reserviere {wann} einen Tisch für {anzahl}.
{tageszeit} ist {stadt} {wetter}.
Wird es {wann} {wetter} in {stadt}?
{wann} werden es {grad} Grad.
{regnet} es {wann} in {stadt}?
Es {regnet} {tageszeit} in {land}.
Wie warm ist es {wann} in {stadt}?
Es ist jetzt {zeit}.
Der Termin {arzt} ist am {tag}.
Ich bin am {datum} {arzt}.
Verschieb den Termin auf den {datum}.
Was machen wir am {datum}?
Wir fahren am {datum} nach {stadt}.
Am {datum} {regnet} es.
{programm} beginnt am {datum}.
{programm} beginnt um {zeit}.
In {zahl} Minuten beginnt {programm}.
{person} hat am {datum} Geburtstag.
{person} ist {zahl} Jahre alt.
Ruf {person_akkusativ} um {zeit} an.
Schick {person_dativ} {wann} eine Nachricht.
{person} schickt {anzahl} Fotos.
Am {datum} kommt {person}.
Am {tag} kommt {person}.
Ich treffe {person_akkusativ} um {zeit}.
{person} kommt mit {verkehr_dativ}.
{person} wohnt im {ordnung} Stock.
{person} wohnt in der {straße}.
{person} wohnt in Nummer {nummer}.
Die {straße} ist {links} {am_ort}.
Wie geht's {person_dativ} in {stadt}?
Wo liegt meine {farbe} {kleidung}?
Ich suche eine {farbe} {kleidung}.
So eine {kleidung} kostet {zahl} Euro.
Die {farbe} {kleidung} ist zu {groß}.
Meine {kleidung} ist zu {groß}.
Hat {person} auch so eine {kleidung}?
Was kosten {anzahl} {essen}?
Kauf {anzahl} {essen} und {ware}.
Kauf bitte {ware}, {ware2} und {ware3}.
Wir haben noch {anzahl} {essen}.
Gibt's noch {ware} oder {getränk}?
{person} isst {essen} mit {ware}.
{tageszeit} trinkt {person} {getränk}.
{person} möchte {warmes} und {getränk}.
Bitte {warmes} mit {ware}.
{nummer} plus {nummer2} ist {nummer3}.
Wie viel ist {nummer} minus {nummer2}?
{anzahl} mal {zahl} ist zu viel.
Zähl von {nummer} bis {nummer2}.
"""

GRAMMARS = {
    "nl": (NL_SLOTS, NL_TEMPLATES.strip().splitlines()),
    "de": (DE_SLOTS, DE_TEMPLATES.strip().splitlines()),
}
SLOT = re.compile(r"\{(\w+?)\d?\}")


def normalise(text: str) -> str:
    """Lower case without punctuation; apostrophes stay. By this key sentences of two splits are told apart."""
    return re.sub(r"[.,?]", "", text).lower()


def sentence_case(text: str) -> str:
    """Capitalise the first letter, after a leading 's as Dutch spelling wants it: 's Avonds regent het."""
    at = 3 if text.startswith("'s ") else 0
    return text[:at] + text[at].upper() + text[at + 1 :]


def dealer(rng: random.Random) -> Callable[[str, list[str]], str]:
    """A function that deals a list's values in random order, and begins anew when all have been dealt."""
    decks: dict[str, list[str]] = {}

    def deal(name: str, values: list[str]) -> str:
        if not decks.get(name):
            decks[name] = rng.sample(values, len(values))
        return decks[name].pop()

    return deal


def sentences(language: str, count: int, rng: random.Random, taken: Collection[str] = ()) -> list[str]:
    """Draw distinct sentences.

    Parameters
    ----------
    language : str
        A key of `GRAMMARS`.
    count : int
        How many.
    rng : random.Random
        The only source of chance.
    taken : collection of str
        Normalised sentences (`normalise`) that must not occur, because another split holds them.

    Returns
    -------
    list of str
        With sentence case and final punctuation, distinct after normalisation.

    Raises
    ------
    ValueError
        When the grammar has too few sentences left.
    """
    slots, templates = GRAMMARS[language]
    deal, seen, out = dealer(rng), set(taken), []

    def fill(text: str) -> str:
        used: dict[str, list[str]] = {}

        def value(match: re.Match) -> str:
            name = match[1]
            options = [v for v in slots[name] if v not in used.get(name, [])]
            drawn = deal(name, slots[name])
            if drawn not in options:  # the deck was reshuffled within the sentence
                drawn = rng.choice(options)
            used.setdefault(name, []).append(drawn)
            return fill(drawn)

        return SLOT.sub(value, text)

    stale = 0
    while len(out) < count:
        text = sentence_case(fill(deal("", templates)))
        key = normalise(text)
        if key in seen:
            stale += 1
            if stale > 10_000:
                raise ValueError(f"hours: the {language} grammar has no new sentence after {len(out)} of {count}")
            continue
        stale = 0
        seen.add(key)
        out.append(text)
    return out
