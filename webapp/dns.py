"""What the DNS says about a name: the TXT records that prove a domain.

Network work: called outside of transactions, by `webapp.account` alone.
"""

from collections.abc import Sequence

import dns.exception
import dns.rdatatype
import dns.resolver

from licensing.errors import AtelierError

LOOKUP_SECONDS_MAX = 5.0  # an admin waits at the page; a server that needs longer is away
RECORDS_MAX = 100  # of one name; a proof needs one


class DnsAway(AtelierError):  # noqa: N818 - says what happened
    """No name server answered, so nothing is known about the domain."""

    code = "dns_away"
    status = 502


def txt_records(name: str, servers: Sequence[tuple[str, int]] = ()) -> list[str]:
    """Return the TXT records at `name`, each as one string; none for a name that is not there.

    `servers` are (address, port) pairs; without one the system's are asked. Raises `DnsAway`.
    """
    try:
        answer = _resolver(servers).resolve(name, dns.rdatatype.TXT, search=False)
    except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
        return []
    except (dns.exception.DNSException, OSError) as error:
        raise DnsAway("No name server answered. Try again in a few minutes.") from error
    return [
        b"".join(record.strings).decode("utf-8", "replace")
        for record, _ in zip(answer, range(RECORDS_MAX), strict=False)
    ]


def _resolver(servers: Sequence[tuple[str, int]]) -> dns.resolver.Resolver:
    resolver = dns.resolver.Resolver(configure=not servers)
    if servers:
        resolver.nameservers = [dns.nameserver.Do53Nameserver(*server) for server in servers]
    resolver.lifetime = LOOKUP_SECONDS_MAX
    return resolver
