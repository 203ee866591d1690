"""Where a process logs to, by the settings."""

from askonce.config.settings import Config
from askonce.domain.errors import ConfigError
from askonce.telemetry import logs
from askonce.telemetry.log_files import LogFile


def log_as(config: Config) -> None:
    """Log as the settings say. Raises `ConfigError` where the log file cannot be opened."""
    file = LogFile(config.log_file, config.log_file_size_bytes, config.log_files) if config.log_file else None
    try:
        logs.configure(config.log_level, config.log_format, file=file)
    except OSError as error:
        raise ConfigError(
            f"log_file = {config.log_file!r} cannot be written ({error.strerror}); name a file in a folder that "
            "exists and is yours, or leave it out to log to stderr."
        ) from error
