"""The fleet's own tables, beside those of the library in the same database."""

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

NOBODY = -1  # the player of containers without one
RESERVED, SETTLED, VOID = "RESERVED", "SETTLED", "VOID"
OPEN = "OPEN"


class Moment(sa.types.TypeDecorator[datetime]):
    """An aware time in UTC, also from SQLite, which keeps no zone."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def now() -> datetime:
    return datetime.now(UTC)


def clock(connection: sa.Connection) -> datetime:
    """The one time of all hosts: the server's; processes on a SQLite file are on one host."""
    if connection.dialect.name == "sqlite":
        return now()
    return connection.execute(sa.select(sa.func.clock_timestamp(type_=Moment))).scalar_one()


metadata = sa.MetaData()
_key = sa.BigInteger().with_variant(sa.Integer, "sqlite")  # which counts only an INTEGER key by itself


def _number(name: str, **how: Any) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False, **how)


def _text(name: str, *, nullable: bool = False, **how: Any) -> sa.Column[str]:
    return sa.Column(name, sa.String(255), nullable=nullable, **how)


def _agent(**how: Any) -> sa.Column[int]:
    return sa.Column("agent_id", sa.ForeignKey("fleet_agents.id"), nullable=False, **how)


agents = sa.Table(
    "fleet_agents",
    metadata,
    sa.Column("id", _key, primary_key=True),
    _text("symbol"),
    _text("era"),  # the API's reset date: after it all symbols begin anew
    _number("player_id"),
    _text("headquarters"),
    _number("opening"),  # its credits when the books were opened
    _number("credits"),  # opening, and the amounts of all settled entries
    _number("min_balance", server_default="0"),
    _number("share", server_default="20"),  # percent of the credits that one purchase may take
    _number("deeds", server_default="0"),  # rises with each entry: who saw the same number saw the same books
    sa.Column("counted_at", Moment),  # when the credits were last compared with the agent's
    sa.Column("shut_until", Moment),  # no order begins before, so that none is under way when they are compared
    sa.Column("ships_seen_at", Moment),
    sa.UniqueConstraint("symbol", "era"),
    sa.UniqueConstraint("player_id", "era"),
)
ships = sa.Table(
    "fleet_ships",
    metadata,
    _agent(primary_key=True),
    _text("symbol", primary_key=True),
    _text("role"),
    _text("system"),
    _text("waypoint"),
    _text("status"),
    _number("capacity"),
    sa.Column("seen_at", Moment, nullable=False),
)
waypoints = sa.Table(
    "fleet_waypoints",
    metadata,
    _agent(primary_key=True),
    _text("symbol", primary_key=True),
    _text("system"),
    _text("type"),
    _number("x"),
    _number("y"),
    sa.Column("is_market", sa.Boolean, nullable=False),
)
prices = sa.Table(
    "fleet_prices",
    metadata,
    _agent(primary_key=True),
    _text("waypoint", primary_key=True),
    _text("good", primary_key=True),
    _text("system"),
    _number("buy"),  # what we pay for a unit: the API's purchasePrice
    _number("sell"),  # what we receive: the API's sellPrice
    _number("volume"),
    _text("supply", nullable=True),
    _text("activity", nullable=True),
    sa.Column("seen_at", Moment, nullable=False),
)
history = sa.Table(
    "fleet_price_history",
    metadata,
    sa.Column("id", _key, primary_key=True),
    _agent(),
    _text("waypoint"),
    _text("good"),
    _number("buy"),
    _number("sell"),
    sa.Column("seen_at", Moment, nullable=False),
    sa.Index("idx_fleet_price_history", "agent_id", "waypoint", "good", "seen_at"),
)
tours = sa.Table(
    "fleet_tours",
    metadata,
    _agent(primary_key=True),
    _text("ship", primary_key=True),
    _text("system"),
    sa.Column("markets", sa.JSON, nullable=False),
)
entries = sa.Table(
    "fleet_entries",
    metadata,
    sa.Column("id", _key, primary_key=True),
    _agent(),
    _text("container_id"),
    _text("purpose"),  # whose cargo it is: arbitrage, or contract:ID
    _text("lot"),  # what belongs together: the guard of a purchase counts all of a lot
    _text("kind"),
    _text("ship"),
    _text("waypoint", nullable=True),
    _text("good", nullable=True),
    _text("contract", nullable=True),
    _number("units", server_default="0"),
    _number("aboard", server_default="0"),  # units that it takes aboard, or (negative) puts off
    _number("held", server_default="0"),  # credits set aside for it while it is RESERVED
    _number("before", server_default="0"),  # what the ship held of the good, or of fuel, before it
    _number("amount", server_default="0"),  # credits that it brought, or (negative) cost
    _number("price", server_default="0"),
    _text("status"),
    sa.Column("is_estimate", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("note", sa.Text),
    sa.Column("transacted_at", Moment),  # by the API's clock
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("asked_at", Moment),  # when somebody first looked after its order, which nobody gave any more then
    sa.Column("settled_at", Moment),
    sa.Index("idx_fleet_entries_ship", "agent_id", "ship"),
    sa.Index("idx_fleet_entries_container", "container_id"),
    sa.Index("idx_fleet_entries_market", "agent_id", "waypoint", "good"),
    sa.Index("idx_fleet_entries_lot", "agent_id", "lot"),
    sa.Index(
        "idx_fleet_entries_reserved",
        "agent_id",
        sqlite_where=sa.text(f"status = '{RESERVED}'"),
        postgresql_where=sa.text(f"status = '{RESERVED}'"),
    ),
)
cargo = sa.Table(  # the sum of `aboard` of all settled entries
    "fleet_cargo",
    metadata,
    _agent(primary_key=True),
    _text("ship", primary_key=True),
    _text("good", primary_key=True),
    _text("purpose", primary_key=True),
    _number("units"),
)
contracts = sa.Table(
    "fleet_contracts",
    metadata,
    sa.Column("id", _key, primary_key=True),
    _agent(),
    _text("container_id"),  # the workflow that fulfils it
    _text("contract", nullable=True),  # the API's id, once there is one
    _text("status"),
    sa.Column("opened_at", Moment, nullable=False),
    sa.Column("closed_at", Moment),
    sa.Index(  # one contract at a time: the game's rule, kept by the database
        "idx_fleet_contracts_open",
        "agent_id",
        unique=True,
        sqlite_where=sa.text(f"status = '{OPEN}'"),
        postgresql_where=sa.text(f"status = '{OPEN}'"),
    ),
)
logs = sa.Table(
    "arbitrage_execution_logs",
    metadata,
    sa.Column("id", _key, primary_key=True),
    _text("container_id", unique=True),
    _text("ship_symbol"),
    _number("player_id"),
    sa.Column("executed_at", Moment, nullable=False),
    sa.Column("success", sa.Boolean, nullable=False),
    sa.Column("error_message", sa.Text),
    _text("good_symbol"),
    _text("buy_market"),
    _text("sell_market"),
    _number("buy_price"),
    _number("sell_price"),
    sa.Column("profit_margin", sa.Float, nullable=False),
    sa.Column("distance", sa.Float, nullable=False),
    _number("estimated_profit"),
    _text("buy_supply", nullable=True),
    _text("sell_activity", nullable=True),
    sa.Column("current_score", sa.Float),
    _text("current_location", nullable=True),  # how the ship was: nobody knows until its first run
    *(
        sa.Column(name, sa.BigInteger)
        for name in (
            "cargo_capacity",
            "cargo_used",
            "fuel_current",
            "fuel_capacity",
            "actual_net_profit",
            "actual_duration_seconds",
            "fuel_cost",
            "units_purchased",
            "units_sold",
            "purchase_cost",
            "sale_revenue",
            "buy_price_at_validation",
            "sell_price_at_validation",
            "buy_price_actual",
            "sell_price_actual",
        )
    ),
    *(sa.Column(name, sa.Float) for name in ("profit_per_second", "profit_per_unit", "margin_accuracy")),
    *(
        sa.Index(f"idx_arbitrage_logs_{name}", name)
        for name in ("player_id", "executed_at", "good_symbol", "success", "ship_symbol")
    ),
)
