"""Every model, for the migrations and for whoever needs the metadata complete."""

from webapp.accounts import models as accounts
from webapp.billing import models as billing
from webapp.database import Base
from webapp.instances import facts
from webapp.instances import models as instances
from webapp.mail import models as mail
from webapp.trial import models as trial

__all__ = ["Base", "accounts", "billing", "facts", "instances", "mail", "trial"]
