"""The English grammar of the embedded corpus: values of each slot, and templates; see local/synthetic_sentences.py."""

from local.synthetic_numbers import NUMBERS, english, english_ordinal

SLOTS = {
    "number": [english(n) for n in NUMBERS],
    "count": [english(n) for n in range(2, 21)],
    "degrees": [english(n) for n in range(2, 36)],
    "hour": [english(n) for n in range(1, 13)],
    "time": [
        "{hour} o'clock",
        "half past {hour}",
        "quarter past {hour}",
        "quarter to {hour}",
        "ten past {hour}",
        "five to {hour}",
    ],
    "day_number": [english_ordinal(n) for n in range(1, 32)],
    "floor": [english_ordinal(n) for n in range(1, 11)],
    "day": "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split(),
    "month": "January February March April May June July August September October November December".split(),
    "date": ["{month} {day_number}"],
    "part": ["in the morning", "in the afternoon", "in the evening", "at night"],
    "when": ["today", "tomorrow", "tonight", "next week", "this weekend", "on {day}"],
    "city": (
        "London Manchester Liverpool Birmingham Bristol Oxford Cambridge York Leeds Glasgow Edinburgh Dublin Cardiff "
        "Brighton Plymouth Norwich Sheffield Exeter Durham Belfast"
    ).split(),
    "country": "Scotland Ireland Wales Norway Portugal Sweden Finland Poland".split(),
    "street": ["Church Street", "Station Road", "Mill Lane", "School Street", "Garden Road"],
    "room": [
        "in the kitchen",
        "in the living room",
        "in the bedroom",
        "in the bathroom",
        "in the hall",
        "in the garage",
        "in the cellar",
        "in the garden",
        "on the balcony",
        "in the office",
    ],
    "device": "lamp light heating television radio oven washer fan computer printer".split(),
    "opening": "door window curtains shutters cupboard gate".split(),
    "sound": "radio television music speaker".split(),
    "louder": ["louder", "quieter"],
    "switch": ["Turn on", "Turn off"],
    "vehicle": "train bus taxi tram ferry".split(),
    "side": ["left", "right"],
    "place": "station market hospital chemist supermarket museum bakery beach library café pool airport".split(),
    "open": ["open", "closed"],
    "person": [
        "my mother",
        "my father",
        "my sister",
        "my brother",
        "grandma",
        "grandpa",
        "the neighbour",
        "George",
        "Judith",
        "Hannah",
        "Oliver",
        "Charlotte",
        "Thomas",
    ],
    "helper": ["the doctor", "the dentist", "the hairdresser", "the vet"],
    "weather": "cold warm windy sunny cloudy foggy wet".split(),
    "rains": ["rain", "snow", "freeze"],
    "programme": ["the film", "the concert", "the match", "the news", "the lesson", "the party"],
    "colour": "red blue green yellow black white grey brown".split(),
    "clothing": "jacket shirt jumper dress skirt hat scarf coat".split(),
    "size": "big small long short expensive".split(),
    "food": "apples pears eggs rolls potatoes tomatoes onions carrots oranges lemons".split(),
    "goods": "bread butter cheese sugar salt flour rice honey jam pepper".split(),
    "drink": "water milk coffee tea juice beer wine".split(),
    "warm": "soup pasta fish chicken pizza pancakes".split(),
}

TEMPLATES = """
{switch} the {device} {room}.
{switch} the {device} at {time}.
Is the {device} still on {room}?
Does the {device} {room} work?
The {device} {room} is broken.
Open the {opening} {room}.
Close the {opening} at {time}.
Is the {opening} {room} {open}?
Make the {sound} {louder} at {time}.
Please make the {sound} {room} {louder}.
Set the heating to {degrees} degrees.
Wake me at {time} {when}.
Set an alarm for {time}.
Set a timer for {count} minutes.
The {vehicle} to {city} leaves at {time}.
The {vehicle} from {city} is {count} minutes late.
When does the {vehicle} to {city} leave?
To {city} from platform {number}.
Does the {vehicle} stop at the {place}?
I take the {vehicle} at {time}.
Line {number} does not run {when}.
Line {number} goes to {city}.
I want to go to {city} {when}.
{count} tickets to {city}, please.
How far is {city} from {city2}?
{city} is {number} miles further.
The journey to {city} takes {count} hours.
How do I get to the {place} {when}?
Turn {side} at the {place}.
Turn {side} into {street} after {count} metres.
{person} is waiting at the {place}.
Is the {place} {open} on {day}?
The {place} is {open} {part}.
The {place} closes at {time}.
We travel to {country} in {month}.
Is it {weather} in {country} in {month}?
It is {weather} in {country} {when}.
Book a hotel in {city} {when}.
Book a table for {count} {when}.
Will it be {weather} in {city} {when}?
It will be {degrees} degrees {when}.
Will it {rains} in {city} {when}?
It will {rains} {part} in {country}.
It is now {time}.
I see {helper} on {day}.
I see {helper} on {date}.
Move the meeting to {date}.
What do we do on {date}?
We leave for {city} on {day}.
{programme} starts on {date}.
{programme} starts at {time}.
{programme} starts in {count} minutes.
{person} has a birthday on {date}.
{person} is {number} years old.
Call {person} at {time}.
Send {person} a message {when}.
{person} sends {count} photos.
{person} comes on {date}.
I meet {person} at {time}.
{person} comes by {vehicle} {when}.
{person} lives on the {floor} floor.
{person} lives at number {number}.
{person} lives in {street}.
{street} is on the {side}.
How is {person} in {city}?
Where is my {colour} {clothing}?
I am looking for a {colour} {clothing}.
This {clothing} costs {number} pounds.
The {colour} {clothing} is too {size}.
My {clothing} is too {size} for {person}.
Does {person} have such a {clothing}?
How much are {count} {food}?
Buy {count} {food} and {goods}.
Buy {goods}, {goods2} and {goods3}, please.
We still have {count} {food}.
Is there any {goods} or {drink} left?
{person} eats {food} with {goods}.
{person} drinks {drink} {part}.
{person} would like {warm} and {drink}.
A little {warm} with {goods}, please.
{number} plus {number2} is {number3}.
How much is {number} minus {number2}?
{count} times {count2} is too much.
Count from {number} to {number2}.
"""
