"""The German grammar of the embedded corpus: values of each slot, and templates; see local/synthetic_sentences.py."""

from local.synthetic_numbers import NUMBERS, german, german_ordinal

SLOTS = {
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

TEMPLATES = """
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
