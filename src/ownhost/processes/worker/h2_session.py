"""h2, the library that speaks HTTP/2's frames, set up as a server here: without input or output."""

from __future__ import annotations

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.settings import SettingCodes, Settings
from hpack import Encoder
from hyperframe.frame import SettingsFrame

CONNECTION_WINDOW = 1_048_576  # bytes of all requests' bodies that may be in transit
MOST_TABLE = 4_096  # bytes of the table of fields that responses refer to, whatever size a client allows
NO_PRIORITIES = 9  # SETTINGS_NO_RFC7540_PRIORITIES (RFC 9218, 2.1)
SPARE_STREAMS = 64  # beyond the limit: these are refused one by one, where h2 would end the connection

# processes.worker.h2_head checks fields. It also knows what a server behind this one must never see.
_CONFIG = H2Configuration(
    client_side=False,
    validate_inbound_headers=False,
    normalize_inbound_headers=False,
    validate_outbound_headers=False,
    normalize_outbound_headers=False,
)


class SmallEncoder(Encoder):
    """Writes field sections, by a table that does not grow with what the client would remember."""

    @property
    def header_table_size(self) -> int:
        """Bytes."""
        size: int = self.header_table.maxsize
        return size

    @header_table_size.setter
    def header_table_size(self, value: int) -> None:
        self.header_table.maxsize = value = min(value, MOST_TABLE)
        if self.header_table.resized:
            self.table_size_changes.append(value)


class Session(H2Connection):
    """h2's connection, which remembers fewer of the streams that are closed, and has a smaller table of fields."""

    MAX_CLOSED_STREAMS = 1_000

    @property
    def unsent(self) -> int:
        """Bytes that wait for `data_to_send`."""
        return len(self._data_to_send)

    def __init__(self, streams: int, window: int) -> None:
        """`streams` at a time may be open, and each may send `window` bytes ahead."""
        super().__init__(_CONFIG)
        self.encoder = SmallEncoder()
        self.local_settings = Settings(
            client=False,
            initial_values={
                SettingCodes.MAX_CONCURRENT_STREAMS: streams + SPARE_STREAMS,
                SettingCodes.MAX_HEADER_LIST_SIZE: self.DEFAULT_MAX_HEADER_LIST_SIZE,
            },
        )
        self.initiate_connection()
        self.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: window})  # counts once the client has heard of it
        self.clear_outbound_data_buffer()
        settings = {
            SettingCodes.MAX_CONCURRENT_STREAMS: streams,
            SettingCodes.INITIAL_WINDOW_SIZE: window,
            SettingCodes.MAX_HEADER_LIST_SIZE: self.DEFAULT_MAX_HEADER_LIST_SIZE,
            NO_PRIORITIES: 1,
        }
        frame = SettingsFrame(0, settings={int(code): value for code, value in settings.items()})
        self.hello = frame.serialize()  # the frame that is to go out first
        self.increment_flow_control_window(CONNECTION_WINDOW - self.inbound_flow_control_window)
