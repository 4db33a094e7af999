"""The settings: strict YAML and environment → one frozen tree, all errors at once, reloaded while running."""

from proxy.settings.access import Access
from proxy.settings.address import Address
from proxy.settings.errors import SettingsError
from proxy.settings.in_force import in_force
from proxy.settings.load import load, show
from proxy.settings.open_doors import open_doors
from proxy.settings.reload import SettingsFile
from proxy.settings.schema import Settings

__all__ = ["Access", "Address", "Settings", "SettingsError", "SettingsFile", "in_force", "load", "open_doors", "show"]
