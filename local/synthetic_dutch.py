"""The Dutch grammar of the embedded corpus: values of each slot, and templates; see local/synthetic_sentences.py."""

from local.synthetic_numbers import NUMBERS, dutch

SLOTS = {
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

TEMPLATES = """
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
