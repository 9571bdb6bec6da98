"""What the API answers, as far as pipelines read it. Plain dicts with the API's own names."""

from typing import Any, NotRequired, TypedDict


class Agent(TypedDict):
    symbol: str
    credits: int
    headquarters: str
    shipCount: int


class Place(TypedDict):
    symbol: str
    x: int
    y: int


class Route(TypedDict):
    origin: Place
    destination: Place
    departureTime: str
    arrival: str


class Nav(TypedDict):
    """In flight, `waypointSymbol` is already the destination."""

    systemSymbol: str
    waypointSymbol: str
    route: Route
    status: str
    flightMode: str


class CargoItem(TypedDict):
    symbol: str
    units: int


class Cargo(TypedDict):
    capacity: int
    units: int
    inventory: list[CargoItem]


class Fuel(TypedDict):
    current: int
    capacity: int


class Ship(TypedDict):
    symbol: str
    registration: dict[str, str]
    nav: Nav
    cargo: Cargo
    fuel: Fuel
    engine: dict[str, Any]


class Waypoint(Place):
    systemSymbol: str
    type: str
    traits: list[dict[str, str]]


class TradeGood(TypedDict):
    """`purchasePrice` is what we pay for a unit, `sellPrice` what we receive."""

    symbol: str
    type: str
    tradeVolume: int
    supply: str
    activity: NotRequired[str]
    purchasePrice: int
    sellPrice: int


class Market(TypedDict):
    """`tradeGoods` only while a ship of ours is there."""

    symbol: str
    imports: list[dict[str, str]]
    exports: list[dict[str, str]]
    exchange: list[dict[str, str]]
    tradeGoods: NotRequired[list[TradeGood]]


class Transaction(TypedDict):
    shipSymbol: str
    waypointSymbol: str
    tradeSymbol: str
    type: str
    units: int
    pricePerUnit: int
    totalPrice: int
    timestamp: str


class Delivery(TypedDict):
    tradeSymbol: str
    destinationSymbol: str
    unitsRequired: int
    unitsFulfilled: int


class Terms(TypedDict):
    deadline: str
    payment: dict[str, int]
    deliver: list[Delivery]


class Contract(TypedDict):
    """Until `expiration` it may be accepted, or until `deadlineToAccept` if that is told."""

    id: str
    type: str
    terms: Terms
    accepted: bool
    fulfilled: bool
    expiration: str
    deadlineToAccept: NotRequired[str]
